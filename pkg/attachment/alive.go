package attachment

import (
	"bytes"
	"net"
	"os"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
)

// argNetns is the key of CNI_ARGS by which an attachment of fairway's records its namespace as package liveness marks it.
const argNetns = "FAIRWAY_NETNS"

// Owner is to whom the kernel's objects belong.
func (a Attachment) Owner() state.Owner {
	return state.Owner{Network: a.Network, ContainerID: a.ID, IfName: a.IfName}
}

// Alive says whether the attachment is there: its interface, or where none was made, the namespace. In doubt it is; see
// package liveness for what decides. The path that was recorded is a hint only.
func (a Attachment) Alive() bool {
	o := a.observer
	if o == nil {
		o = &liveness.Observer{}
	}
	if a.Unrecorded {
		return true // by what it was found
	}
	alive, dying := a.judge(o)
	if !alive || !dying || a.Netns == "" {
		return alive
	}
	if a.led(o) {
		return true
	}
	if _, held := o.Find(a.mark, ""); held {
		return true
	}
	return o.Stays(func() bool { alive, _ := a.judge(o); return alive })
}

// led says whether the path that was recorded leads to the container still, as far as that is known without looking into it.
func (a Attachment) led(o *liveness.Observer) bool {
	id, err := kernel.NamespaceAt(a.Netns)
	switch {
	case err != nil:
		return false
	case a.mark != (liveness.Mark{}):
		return id.Is(a.mark.Namespace())
	}
	name := ""
	for _, end := range a.hostEnds {
		if strings.HasPrefix(end.Name, "veth") {
			name = end.Name
		}
	}
	return o.LeadsToPeer(a.Netns, a.Owner(), name)
}

// judge also says whether the kernel would say so for a moment of what has just ended.
func (a Attachment) judge(o *liveness.Observer) (alive, dying bool) {
	exists, certain := o.Exists(a.mark)
	if certain && !exists {
		return false, false
	}
	verdict := a.byHostEnd(o)
	switch {
	case inSandbox(): // what it takes for the host's namespace is the container's
		return true, false
	case verdict == is:
		return true, true
	case a.onHost():
		return kernel.IsHost(a.Netns), false // nothing was made
	case certain:
		return true, true // also without an interface, which the container may have removed
	case verdict == isNot:
		return false, false
	}
	mark := a.mark
	if claimed, ok := o.ClaimOf(a.Owner()); ok {
		mark = claimed
	}
	if mark != (liveness.Mark{}) {
		return !o.Ended(mark, a.Netns), true
	}
	return a.byInterface(o), false
}

// onHost says whether the container shares the host's namespace.
func (a Attachment) onHost() bool {
	if a.mark != (liveness.Mark{}) {
		return a.mark.IsHost()
	}
	return kernel.IsHost(a.Netns)
}

type verdict int

const (
	unknown verdict = iota
	is
	isNot
)

// byHostEnd asks for the host's end of a veth: fairway's by its name, that of other plugins by what their result says.
func (a Attachment) byHostEnd(o *liveness.Observer) verdict {
	if o.HasHostEnd(a.Owner()) {
		return is
	}
	found := unknown
	for _, end := range a.hostEnds {
		if o.HasVeth(end.Name, end.MAC) {
			return is
		}
		if strings.HasPrefix(end.Name, "veth") {
			found = isNot
		}
	}
	return found
}

// byInterface looks for the container's interface where the record says, and then everywhere.
func (a Attachment) byInterface(o *liveness.Observer) bool {
	i := liveness.Interface{Name: a.IfName, MAC: a.MAC}
	for _, p := range a.Addresses {
		i.Addresses = append(i.Addresses, p.Addr())
	}
	_, err := kernel.NamespaceAt(a.Netns)
	there, ofProcess := err == nil, strings.HasPrefix(a.Netns, "/proc/")
	recorded := i.MAC != nil || len(i.Addresses) > 0
	switch {
	case a.Netns == "":
		return true
	case there && o.Has(a.Netns, i):
		return true
	case there && i.MAC == nil && len(i.Addresses) == 0:
		return !ofProcess // another process may have the number
	case there && (o.HasNamed(a.Netns, i) || !ofProcess && o.Has(a.Netns, liveness.Interface{Name: a.IfName})):
		return true // the container has changed the MAC
	}
	// Of an attachment that made nothing, such as that of lo, nothing can be taken.
	return recorded && o.Everywhere(i)
}

// Path leads to the container's namespace: the recorded one if it still does, or another where the namespace is found. It is the recorded
// one also when none is.
func (a Attachment) Path() string {
	if a.mark == (liveness.Mark{}) || a.observer == nil {
		return a.Netns
	}
	if path, ok := a.observer.Find(a.mark, a.Netns); ok {
		return path
	}
	return a.Netns
}

// In says whether the attachment is of a container in the namespace that another path leads to.
func (a Attachment) In(netns string) bool {
	there, err := kernel.Identify(netns)
	return err == nil && a.in(there, netns)
}

func (a Attachment) in(there kernel.NamespaceID, path string) bool {
	if a.mark != (liveness.Mark{}) {
		return a.mark.OfThisBoot() && a.mark.Namespace().Is(there)
	}
	own, err := kernel.NamespaceAt(a.Netns)
	if err == nil {
		return own.Is(there)
	}
	return a.observer != nil && a.MAC != nil && a.observer.Has(path, liveness.Interface{Name: a.IfName, MAC: a.MAC})
}

// SandboxInit is what the first process of a container of `fairway run` is called.
const SandboxInit = "fairway-init"

// inSandbox says whether this is a process in a container of `fairway run`. It sees the cache of the machine, and none of the
// machine's processes.
func inSandbox() bool {
	first, err := os.ReadFile("/proc/1/cmdline")
	return err == nil && bytes.HasPrefix(first, []byte(SandboxInit+"\x00"))
}

// hostEnd is a link of the host that a result names.
type hostEnd struct {
	Name string
	MAC  net.HardwareAddr
}
