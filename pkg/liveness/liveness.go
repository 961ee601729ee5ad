// Package liveness answers whether a network namespace, and what is attached in it, is there still.
//
// The kernel decides, and in doubt the answer is yes: to take the network from a container that lives is worse than to keep
// what a dead one has left. The evidence, in this order:
//
//  1. the host's end of a veth exists exactly as long as the namespace with the other end, and is named after its owner;
//  2. the kernel finds a namespace by its number, whatever holds it (Linux 6.18);
//  3. a process, a thread, a descriptor or a mount holds a namespace with the device, the inode and the cookie.
//
// A path is a hint where to look first: it may go before its namespace, and lead to another one later.
//
// It runs in the host's network namespace, as root. A process that does not see all processes finds nothing dead by (3).
package liveness

import (
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Observer looks at the host when it is first asked, and remembers what it found: many questions cost one look. It is for
// one decision, made under the lock that keeps new attachments away, and for one goroutine.
type Observer struct {
	ends    map[string]bool // names of the host's veths, and aliases
	unknown error           // why ends could not be listed
	holders *holders
	// pathsOnly does without the kernel's numbers of namespaces, as before Linux 6.18.
	pathsOnly bool
}

// Gone says whether what an owner has had in a namespace is certainly no more: it has no link on the host, and the namespace
// has ended. An unknown mark is certainty of nothing. The path is a hint.
func (o *Observer) Gone(owner state.Owner, m Mark, path string) bool {
	return !o.HasHostEnd(owner) && o.Ended(m, path)
}

// HasHostEnd says whether the host has a veth of the owner: then the namespace with the other end lives. It is true also
// when the links cannot be listed.
func (o *Observer) HasHostEnd(owner state.Owner) bool {
	if o.ends == nil && o.unknown == nil {
		o.ends, o.unknown = hostEnds()
	}
	return o.unknown != nil || o.ends[owner.HostLink()] || o.ends[owner.Tag()]
}

func hostEnds() (map[string]bool, error) {
	k, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	defer k.Close()
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]bool)
	for _, link := range links {
		if link.Type() == "veth" {
			ends[link.Attrs().Name] = true
			ends[link.Attrs().Alias] = true // somebody may have renamed it
		}
	}
	delete(ends, "")
	return ends, nil
}

// Ended says whether a namespace has certainly ended. The path is a hint.
func (o *Observer) Ended(m Mark, path string) bool {
	if m == (Mark{}) {
		return false
	}
	view, err := thisView()
	if err != nil {
		return false
	}
	if m.boot != view.boot {
		return true // no namespace outlives a boot
	}
	if !o.pathsOnly {
		if exists, err := m.id.Exists(); err == nil {
			return !exists
		}
	}
	if at, err := kernel.Identify(path); err == nil && at.Is(m.id) {
		return false
	}
	if m.processes != view.processes {
		return false
	}
	if o.holders == nil {
		o.holders = search()
	}
	return !o.holders.hold(m.id)
}
