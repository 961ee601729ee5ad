package container

import (
	"fmt"
	"slices"
	"strings"
)

// merge makes one of all containers that share a namespace, and gives it the ID and the path under which CNI knows it. The
// first of them gives the name. identity is the same for all paths to a namespace.
func merge(all, attached []Container, identity func(netns string) string) []Container {
	var merged []Container
	place := map[string]int{}
	for _, c := range all {
		if c.Netns == "" {
			merged = append(merged, c)
			continue
		}
		key := identity(c.Netns)
		i, seen := place[key]
		if !seen {
			place[key] = len(merged)
			merged = append(merged, c)
			continue
		}
		merged[i].names = append(merged[i].names, c.names...)
		merged[i].ids = append(merged[i].ids, c.ids...)
	}
	for _, a := range attached {
		if i, ok := place[identity(a.Netns)]; ok {
			merged[i].ID, merged[i].Netns = a.ID, a.Netns
			delete(place, identity(a.Netns)) // the first one counts
		}
	}
	return merged
}

// choose finds the one container that a reference means.
func choose(all []Container, ref string) (Container, error) {
	if ref == "" {
		return Container{}, fmt.Errorf("an empty name names no container: %w", ErrNotFound)
	}
	for _, answers := range []func(Container) bool{
		func(c Container) bool { return slices.Contains(c.ids, ref) },
		func(c Container) bool { return slices.Contains(c.names, ref) },
		func(c Container) bool {
			return slices.ContainsFunc(c.ids, func(id string) bool { return strings.HasPrefix(id, ref) })
		},
	} {
		var found []Container
		for _, c := range all {
			if answers(c) {
				found = append(found, c)
			}
		}
		if len(found) > 1 {
			found = preferRunning(found)
		}
		switch {
		case len(found) > 1:
			return Container{}, ambiguous(ref, found)
		case len(found) == 1 && found[0].Netns == "":
			return Container{}, fmt.Errorf("container %s %w: it has no network namespace until it is started", ref, ErrNotRunning)
		case len(found) == 1:
			return found[0], nil
		}
	}
	return Container{}, fmt.Errorf("container %s %w", ref, ErrNotFound)
}

// preferRunning leaves out what does not run, as long as something does.
func preferRunning(found []Container) []Container {
	running := slices.DeleteFunc(slices.Clone(found), func(c Container) bool { return c.Netns == "" })
	if len(running) > 0 {
		return running
	}
	return found
}

func ambiguous(ref string, found []Container) error {
	var lines []string
	for _, c := range found {
		lines = append(lines, fmt.Sprintf("%s (%s, %s)", c.ids[0], c.Name, c.Runtime))
	}
	return fmt.Errorf("container %s %w, give more of an ID: %s", ref, ErrAmbiguous, strings.Join(lines, "; "))
}
