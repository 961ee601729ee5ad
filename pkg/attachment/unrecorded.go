package attachment

import (
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
)

// unrecorded is what the kernel has of containers that no record is known of: their runtime keeps its records elsewhere, or
// has lost them; on one network, or for an empty name on all. Each is alive. One whose owner cannot be read is called by its whole tag.
func (r Runtime) unrecorded(o *liveness.Observer, network string, recorded []Attachment) (found []Attachment) {
	known := map[string]bool{}
	for _, a := range recorded {
		known[a.Owner().Tag()] = true
	}
	ends, _ := o.HostEnds() // without a list of links nothing is known of them
	for _, end := range ends {
		if known[end.Alias] {
			continue
		}
		owner, ok := end.Owner()
		if owner.Network == "" || network != "" && owner.Network != network {
			continue // an empty name did not fit into the tag
		}
		if !ok {
			owner.ContainerID, owner.IfName = end.Alias, "unknown"
		}
		a := unrecordedOf(owner, o)
		a.tagOnly = !ok
		if path, held := o.PathOf(end.Namespace); held {
			a.Netns = path
			a.readInterface(o)
		} else if !o.Stays(func() bool { return o.HasVeth(end.Name, nil) }) {
			continue // it has just ended
		}
		found = append(found, a)
	}
	for owner := range o.Claimed() {
		if known[owner.Tag()] || network != "" && owner.Network != network {
			continue
		}
		mark, ok := o.ClaimOf(owner)
		if !ok || o.Ended(mark, "") {
			continue
		}
		a := unrecordedOf(owner, o)
		a.mark = mark
		if path, held := o.Find(mark, ""); held {
			a.Netns = path
			if !a.readInterface(o) {
				continue // a claim of an ADD that was killed
			}
		}
		found = append(found, a)
	}
	return found
}

func unrecordedOf(owner state.Owner, o *liveness.Observer) Attachment {
	return Attachment{Network: owner.Network, ID: owner.ContainerID, IfName: owner.IfName, Unrecorded: true, observer: o}
}

// readInterface notes what the container's interface has now, and says whether there is one.
func (a *Attachment) readInterface(o *liveness.Observer) bool {
	i, ok := o.Read(a.Netns, a.IfName)
	if !ok {
		return false
	}
	a.MAC = i.MAC
	for _, p := range i.Prefixes {
		if !p.Addr().IsLinkLocalUnicast() {
			a.Addresses = append(a.Addresses, p)
		}
	}
	return true
}
