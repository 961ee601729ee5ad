package topology

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// containers adds each namespace with its interfaces.
func (b *builder) containers() {
	for _, ns := range b.facts.Host.Others {
		here := b.attachmentsIn(ns)
		id := "container/" + containerKey(ns, here)
		b.add(Node{ID: id, Kind: Container, Name: containerName(ns, here)})
		for _, l := range ns.Links {
			if l.Kind == "loopback" || !l.Up && len(l.Addrs) == 0 && l.LowerIn == snapshot.None {
				continue // such as the fallback tunnels that modules make in each namespace
			}
			b.interfaceOf(id, ns, l, here)
		}
	}
}

func (b *builder) interfaceOf(container string, ns snapshot.Namespace, l snapshot.Link, here []Attachment) {
	n := Node{
		ID: strings.Replace(container, "container/", "interface/", 1) + "/" + l.Name, Kind: Interface, Name: l.Name,
		Type: l.Kind, Addrs: l.Global(), MTU: l.MTU, Down: !l.Up, Container: container,
	}
	network := ""
	var published []ports.Port
	for _, a := range here {
		if a.IfName == l.Name {
			network = a.Network
			if a.Unrecorded {
				n.mark("unrecorded")
			}
			published = a.Ports
		}
	}
	n.belong(network)
	for _, r := range ns.Defaults() {
		if r.Link == l.Index {
			n.mark(defaultMark(ns, r))
		}
	}
	n.mark(portMarks(published)...)
	b.add(n)
	if l.LowerIn != snapshot.None {
		b.hang(ns, l, end{id: n.ID, network: network})
	}
}

// defaultMark tells the default route that is taken, that of the least metric in its family, from those that take over when
// it goes.
func defaultMark(ns snapshot.Namespace, r snapshot.Route) string {
	for _, other := range ns.Defaults() {
		if other.Dst.Addr().Is4() == r.Dst.Addr().Is4() && other.Priority < r.Priority {
			return fmt.Sprintf("default route metric %d", r.Priority)
		}
	}
	return "default route"
}

// portMarks are published ports as Docker writes them: a few, and how many there are besides. One of both families at all
// addresses is written once.
func portMarks(list []ports.Port) []string {
	const few = 4
	var marks []string
	for _, p := range list {
		if text := p.Anywhere().String(); !slices.Contains(marks, text) {
			marks = append(marks, text)
		}
	}
	if len(marks) > few+1 {
		marks = append(marks[:few], fmt.Sprintf("%d more ports", len(marks)-few))
	}
	return marks
}

// hang notes how an interface is connected with a link of the host, if it is.
func (b *builder) hang(ns snapshot.Namespace, l snapshot.Link, e end) {
	lower, ok := b.host.LinkAt(l.Lower)
	switch {
	case !ok:
	case l.Kind == "veth":
		// An index says little by itself: the other end has to lead back.
		if lower.Kind == "veth" && lower.Lower == l.Index && lower.LowerIn == ns.ID {
			b.node(e.id).HostEnd = lower.Name
			b.ends[lower.Index] = e
		}
	default:
		segment := b.segment(lower, l, e.network)
		b.join(segment, e.id, Attached, "")
	}
}

// segment is what macvlans and the like of one network share: their parent's own segment.
func (b *builder) segment(parent, l snapshot.Link, network string) string {
	name := cmp.Or(network, l.Kind+" on "+parent.Name)
	id := b.add(Node{ID: "segment/" + parent.Name + "/" + name, Kind: Segment, Name: name, Type: l.Kind, MTU: parent.MTU})
	n := b.node(id)
	n.belong(network)
	if l.Mode != "" {
		n.mark(l.Mode)
	}
	b.join(linkID(parent.Name), id, Below, "")
	return id
}

// attachmentsIn are the attachments whose namespace this is.
func (b *builder) attachmentsIn(ns snapshot.Namespace) []Attachment {
	var here []Attachment
	for _, a := range b.facts.Attachments {
		for _, path := range ns.Paths {
			if a.Netns == path {
				here = append(here, a)
				break
			}
		}
	}
	return here
}

// containerKey is the container's ID, or the path of a namespace of which no runtime has told.
func containerKey(ns snapshot.Namespace, here []Attachment) string {
	if len(here) > 0 {
		return here[0].ID
	}
	if len(ns.Paths) > 0 {
		return ns.Paths[0]
	}
	return fmt.Sprintf("%d", ns.ID)
}

// containerName is the container's name, its ID, what its namespace is called, or a process inside.
func containerName(ns snapshot.Namespace, here []Attachment) string {
	for _, a := range here {
		if a.Name != "" {
			return a.Name
		}
	}
	switch {
	case len(here) > 0:
		return shortened(here[0].ID)
	case ns.Process != "":
		return ns.Process
	case len(ns.Paths) > 0:
		return filepath.Base(ns.Paths[0])
	}
	return fmt.Sprintf("namespace %d", ns.ID)
}

// shortened cuts the 64 digits with which most IDs end to twelve, as runtimes show them.
func shortened(id string) string {
	const long, short = 64, 12
	begin := len(strings.TrimRight(id, "0123456789abcdef"))
	if len(id)-begin != long {
		return id
	}
	return id[:begin+short]
}
