package liveness

import (
	"bytes"
	"net"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// HostEnd is a veth of the host: the namespace with its other end lives.
type HostEnd struct {
	Name, Alias string
	MAC         net.HardwareAddr
	// Group is the device group.
	Group uint32
	// Namespace is the number by which the host refers to the one with the other end (ip netns list-id), or -1.
	Namespace int
}

// ends are the veths of the host.
type ends struct {
	all   []HostEnd
	named map[string]bool // names and aliases
	err   error           // why they could not be listed
	macs  []net.HardwareAddr
}

// HasHostEnd says whether the host has a veth of the owner. It is true also when the links cannot be listed.
func (o *Observer) HasHostEnd(owner state.Owner) bool {
	found := o.hostEnds()
	return found.err != nil || found.named[owner.HostLink()] || found.named[owner.Tag()]
}

// LeadsToPeer says whether a path leads to the namespace with the other end of a veth of the owner, or of one of a name.
func (o *Observer) LeadsToPeer(path string, owner state.Owner, name string) bool {
	number, err := o.numberOf(path)
	return err == nil && number >= 0 && slices.ContainsFunc(o.hostEnds().all, func(e HostEnd) bool {
		return e.Namespace == number && (e.Name == owner.HostLink() || e.Alias == owner.Tag() || e.Name == name)
	})
}

// numberOf asks by a handle that goes with the observer: there may be thousands of questions.
func (o *Observer) numberOf(path string) (int, error) {
	if o.host == nil {
		k, err := kernel.Open("")
		if err != nil {
			return -1, err
		}
		o.host = k
		runtime.AddCleanup(o, (*kernel.Kernel).Close, k)
	}
	return o.host.NumberOf(path)
}

// HasVeth says whether the host has a veth of a name or a MAC; an empty one is none. It is true also when the links cannot be listed.
func (o *Observer) HasVeth(name string, mac net.HardwareAddr) bool {
	found := o.hostEnds()
	return found.err != nil || slices.ContainsFunc(found.all, func(e HostEnd) bool {
		return e.Name == name || len(mac) > 0 && bytes.Equal(e.MAC, mac)
	})
}

// HostEnds are the veths of the host that fairway made for containers and that are complete: they have the tags of their owners as alias.
// A half-made one has none, and no container uses it.
func (o *Observer) HostEnds() ([]HostEnd, error) {
	var owned []HostEnd
	for _, e := range o.hostEnds().all {
		if state.IsTag(e.Alias) {
			owned = append(owned, e)
		}
	}
	return owned, o.ends.err
}

// HostEndsIn are those of HostEnds whose other end lies in a namespace, by looking there: unlike HostEnds it costs no more beside
// thousands of others.
func HostEndsIn(netns string) (ends []HostEnd, err error) {
	k, err := kernel.Open(netns)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	links, err := kernel.Dump(k.Container.LinkList)
	if err != nil {
		return nil, err
	}
	for _, inside := range links {
		index := inside.Attrs().ParentIndex
		if inside.Type() != "veth" || index == 0 {
			continue
		}
		outside, err := k.Host.LinkAt(index)
		if err != nil {
			continue // its other end is not on the host, or has gone
		}
		a := outside.Attrs()
		if state.IsTag(a.Alias) && a.ParentIndex == inside.Attrs().Index {
			ends = append(ends, hostEnd(a))
		}
	}
	return ends, nil
}

func hostEnd(a *netlink.LinkAttrs) HostEnd {
	return HostEnd{Name: a.Name, Alias: a.Alias, MAC: a.HardwareAddr, Group: a.Group, Namespace: a.NetNsID}
}

// Owner reads the alias. ok is false where container and interface were too long, and are hashed; Network is empty where it is hashed
// too.
func (e HostEnd) Owner() (owner state.Owner, ok bool) {
	fields := strings.Split(e.Alias, " ")
	if len(fields) < 2 {
		return state.Owner{}, false
	}
	owner.Network = fields[1]
	if e.Group != state.Group(owner.Network) {
		return state.Owner{}, false
	}
	if len(fields) != 4 {
		return owner, false
	}
	owner.ContainerID, owner.IfName = fields[2], fields[3]
	return owner, owner.Tag() == e.Alias
}

// PathOf finds a path to the namespace with the other end. ok is false where nothing that can be seen holds it.
func (o *Observer) PathOf(namespace int) (path string, ok bool) {
	if namespace < 0 {
		return "", false
	}
	if o.numbers == nil {
		o.numbers = numbersOf(o.held().at)
	}
	path, ok = o.numbers[namespace]
	return path, ok
}

// Inhabited finds a process in the namespace with the other end of a veth of the host, by the path to its namespace. What is only held, by a
// mount or a descriptor, has none.
func Inhabited(namespace int) (path string, ok bool) {
	if namespace < 0 {
		return "", false
	}
	h := &holders{at: map[uint64]string{}}
	h.each(h.threads)
	path, ok = numbersOf(h.at)[namespace]
	return path, ok
}

// numbersOf are paths to namespaces by the numbers by which the host refers to these.
func numbersOf(paths map[uint64]string) map[int]string {
	numbers := map[int]string{}
	k, err := kernel.Open("")
	if err != nil {
		return numbers
	}
	defer k.Close()
	for _, path := range paths {
		if number, err := k.NumberOf(path); err == nil {
			numbers[number] = path
		}
	}
	return numbers
}

func (o *Observer) hostEnds() *ends {
	if o.ends == nil {
		o.ends = listEnds()
	}
	return o.ends
}

func listEnds() *ends {
	k, err := kernel.Open("")
	if err != nil {
		return &ends{err: err}
	}
	defer k.Close()
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return &ends{err: err}
	}
	found := &ends{named: map[string]bool{}}
	for _, link := range links {
		a := link.Attrs()
		if len(a.HardwareAddr) > 0 {
			found.macs = append(found.macs, a.HardwareAddr)
		}
		if link.Type() != "veth" {
			continue
		}
		found.all = append(found.all, hostEnd(a))
		found.named[a.Name] = true
		found.named[a.Alias] = true // somebody may have renamed it
	}
	delete(found.named, "")
	return found
}
