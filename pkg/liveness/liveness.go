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
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
)

// Observer looks at the host when it is first asked, and remembers what it found: many questions cost one look. It is for
// one decision, made under the lock that keeps new attachments away, and for one goroutine.
type Observer struct {
	// Release is called once, before anything is looked for that holds a namespace: whoever else holds namespaces of containers that have gone is asked to leave them. Nil: nobody
	// is known.
	Release func()

	host     *kernel.Kernel // nil: not opened yet
	view     *view
	ends     *ends
	holders  *holders
	released bool
	settled  time.Time                          // until when Stays waits
	numbers  map[int]string                     // paths, by the host's numbers of namespaces
	inside   []inside                           // what namespaces hold; nil: not looked at yet
	claimed  map[state.Owner]kernel.NamespaceID // nil: not read yet
	// pathsOnly does without the kernel's numbers of namespaces, as before Linux 6.18.
	pathsOnly bool
}

// Gone says whether what an owner has had in a namespace is certainly no more: the namespace has ended, and where that is
// only concluded, the owner has no link on the host. An unknown mark is certainty of nothing. The path is a hint.
func (o *Observer) Gone(owner state.Owner, m Mark, path string) bool {
	if exists, certain := o.Exists(m); certain {
		return !exists
	}
	return !o.HasHostEnd(owner) && o.Ended(m, path)
}

// Exists asks the kernel for the namespace by its number. certain is false where it does not answer that.
func (o *Observer) Exists(m Mark) (exists, certain bool) {
	view, err := o.ownView()
	if m == (Mark{}) || err != nil {
		return false, false
	}
	if m.boot != view.boot {
		return false, true // no namespace outlives a boot
	}
	if o.pathsOnly {
		return false, false
	}
	exists, err = m.id.Exists()
	return exists, err == nil
}

// Stays asks again, for three seconds in all, whether something is there: the kernel ends a namespace some time after its last
// holder, as when that was a netlink socket, and takes its veths away after that.
func (o *Observer) Stays(there func() bool) bool {
	const settling, interval = 3 * time.Second, 20 * time.Millisecond
	if o.settled.IsZero() {
		o.release()
		o.settled = time.Now().Add(settling)
	}
	for there() {
		if time.Now().After(o.settled) {
			return true
		}
		time.Sleep(interval)
		o.ends = nil
	}
	return false
}

func (o *Observer) release() {
	if o.Release != nil && !o.released {
		o.released = true
		o.Release()
	}
}

// Ended says whether a namespace has certainly ended. The path is a hint.
func (o *Observer) Ended(m Mark, path string) bool {
	if exists, certain := o.Exists(m); certain {
		return !exists
	}
	view, err := o.ownView()
	if m == (Mark{}) || err != nil {
		return false
	}
	if at, err := kernel.Identify(path); err == nil && at.Is(m.id) {
		return false
	}
	if m.processes != view.processes {
		return false
	}
	return !o.held().hold(m.id)
}

func (o *Observer) held() *holders {
	if o.holders == nil {
		o.holders = search()
	}
	return o.holders
}

// Find is a path that leads to the namespace now: the hint if it does, or that of whoever holds it. ok is false where none is
// found.
func (o *Observer) Find(m Mark, hint string) (path string, ok bool) {
	if view, err := o.ownView(); err != nil || view.boot != m.boot {
		return "", false
	}
	if at, err := kernel.Identify(hint); err == nil && at.Is(m.id) {
		return hint, true
	}
	o.release()
	path, ok = o.held().at[m.id.Inode]
	at, err := kernel.Identify(path)
	return path, ok && err == nil && at.Is(m.id)
}

// ClaimOf is the namespace in which an owner has a link that has no end on the host, such as a macvlan. ok is false where
// it has claimed none.
func (o *Observer) ClaimOf(owner state.Owner) (m Mark, ok bool) {
	id, ok := o.Claimed()[owner]
	view, err := o.ownView()
	return Mark{id, view}, ok && err == nil // claims do not outlive a boot
}

// Claimed is the namespaces of all such links. What cannot be read is left out.
func (o *Observer) Claimed() map[state.Owner]kernel.NamespaceID {
	if o.claimed == nil {
		if o.claimed, _ = lan.Claimed(); o.claimed == nil { // see above
			o.claimed = map[state.Owner]kernel.NamespaceID{}
		}
	}
	return o.claimed
}

func (o *Observer) ownView() (view, error) {
	if o.view != nil {
		return *o.view, nil
	}
	v, err := thisView()
	if err == nil {
		o.view = &v
	}
	return v, err
}
