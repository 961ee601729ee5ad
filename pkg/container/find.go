package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Finder knows where to look.
type Finder struct {
	// Address is containerd's socket, with or without "unix://". Empty: /run/containerd/containerd.sock.
	Address string
	// Attached is CNI's result cache.
	Attached []attachment.Attachment
}

// Find looks a container up: pid:N, netns:PATH, or as Docker does by its whole ID, then by its name, then by the beginning
// of its ID. The error wraps ErrNotFound, ErrNotRunning or ErrAmbiguous, and names those it might be.
func (f Finder) Find(ctx context.Context, ref string) (Container, error) {
	if kind, value, ok := strings.Cut(ref, ":"); ok {
		switch kind {
		case "pid":
			return f.process(value)
		case "netns":
			return f.bound(value)
		}
	}
	all, unasked := f.all(ctx)
	found, err := choose(all, ref)
	if errors.Is(err, ErrNotFound) && unasked != nil {
		return Container{}, fmt.Errorf("%w: %w", err, unasked)
	}
	return found, err
}

// List is the containers that run, each pod once, sorted by name. The error says that containerd could not be asked; those
// that CNI's cache knows are there nevertheless.
func (f Finder) List(ctx context.Context) ([]Container, error) {
	all, err := f.all(ctx)
	running := slices.DeleteFunc(all, func(c Container) bool { return c.Netns == "" })
	slices.SortFunc(running, func(a, b Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return running, err
}

// Names is what clients of containerd call its containers, by the ID that CNI was given for each. Without containerd there are none.
func Names(ctx context.Context, address string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	all, _ := daemon{address: address}.containers(ctx) // names are a help to people, and IDs are there in any case
	names := map[string]string{}
	for _, c := range all {
		if len(c.names) > 0 {
			names[c.ID] = c.Name
		}
	}
	return names
}

// namesLimit bounds the wait for names, which nothing depends on.
const namesLimit = 2 * time.Second

// all is every container once. Those that do not run have no Netns.
func (f Finder) all(ctx context.Context) ([]Container, error) {
	d := daemon{address: f.Address}
	known, err := d.containers(ctx)
	alive := f.alive()
	return merge(append(known, alive...), alive, netnsIdentity), err
}

// alive is what CNI's cache knows of containers that are there.
func (f Finder) alive() (found []Container) {
	for _, a := range f.Attached {
		if !a.Alive() {
			continue
		}
		c := Container{ID: a.ID, Name: cmp.Or(a.Name, a.ID), Netns: a.Path(), Runtime: "CNI's cache", ids: []string{a.ID}}
		if a.Name != "" {
			c.names = []string{a.Name}
		}
		found = append(found, c)
	}
	return found
}

// netnsIdentity is the same for all paths to one namespace, and a path of its own where there is none.
func netnsIdentity(path string) string {
	id, err := kernel.NamespaceAt(path)
	if err != nil {
		return path
	}
	return fmt.Sprintf("%d:%d", id.Dev, id.Inode)
}
