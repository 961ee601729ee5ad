package kernel

import (
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// listings are what was listed of tables that all networks of a host share, by what one of them asks for.
type listings struct {
	elements   map[string]map[string]*keys       // by set, and comment
	routes     map[uint8]map[int][]RouteEntry    // by protocol, and link
	neighbours map[bool]map[int][]NeighbourEntry // of forwarding databases or not, by link
}

// nowhere is in the place of a link for routes that lead nowhere.
const nowhere = -1

// keys of elements, one behind the other.
type keys struct {
	all  []byte
	size int
}

// Remember has this handle list once what all networks of a host share: who compares many of them with it would list the entries of all for
// each. What changes afterwards is not seen, so that what is done about a difference is to be within Afresh.
func (k *Kernel) Remember() {
	if k.remembered == nil {
		k.remembered = &listings{
			elements: make(map[string]map[string]*keys), routes: make(map[uint8]map[int][]RouteEntry), neighbours: make(map[bool]map[int][]NeighbourEntry),
		}
	}
}

// Forget drops what is remembered, and says whether that was anything.
func (k *Kernel) Forget() bool {
	was := k.remembered
	k.remembered = nil
	return was != nil && len(was.elements)+len(was.routes)+len(was.neighbours) > 0
}

// Afresh does something by what is listed then.
func (k *Kernel) Afresh(f func() error) error {
	kept := k.remembered
	k.remembered = nil
	defer func() { k.remembered = kept }()
	return f()
}

// EachElementOf is EachElement for those with a comment.
func (k *Kernel) EachElementOf(set *nftables.Set, comment string, each func(Element)) error {
	if k.remembered == nil || set.Interval || set.IsMap {
		return k.EachElement(set, func(e Element) {
			if e.Comment == comment {
				each(e)
			}
		})
	}
	id := fmt.Sprint(set.Table.Family, " ", set.Table.Name, " ", set.Name)
	all, known := k.remembered.elements[id]
	if !known {
		all = make(map[string]*keys)
		if err := k.EachElement(set, func(e Element) {
			of := all[e.Comment]
			if of == nil {
				of = &keys{size: len(e.Key)}
				all[e.Comment] = of
			}
			of.all = append(of.all, e.Key...)
		}); err != nil {
			return err
		}
		k.remembered.elements[id] = all
	}
	of := all[comment]
	for from := 0; of != nil && from < len(of.all); from += of.size {
		each(Element{Set: set, Key: of.all[from : from+of.size], Comment: comment})
	}
	return nil
}

// EachRouteOf is EachRoute for those by way of a link, and those that lead nowhere.
func (k *Kernel) EachRouteOf(protocol uint8, link int, each func(RouteEntry)) error {
	if k.remembered == nil {
		return k.EachRoute(protocol, func(r RouteEntry) {
			if r.Link == link || r.Type == unix.RTN_UNREACHABLE {
				each(r)
			}
		})
	}
	all, known := k.remembered.routes[protocol]
	if !known {
		all = make(map[int][]RouteEntry)
		if err := k.EachRoute(protocol, func(r RouteEntry) {
			at := r.Link
			if r.Type == unix.RTN_UNREACHABLE {
				at = nowhere
			}
			all[at] = append(all[at], r)
		}); err != nil {
			return err
		}
		k.remembered.routes[protocol] = all
	}
	for _, at := range []int{link, nowhere} {
		for _, r := range all[at] {
			each(r)
		}
		if link == nowhere {
			break
		}
	}
	return nil
}

// eachRemembered gives the neighbours of a link, or its forwarding database, of a listing of all.
func (k *Kernel) eachRemembered(link int, fdb bool, each func(NeighbourEntry)) error {
	all, known := k.remembered.neighbours[fdb]
	if !known {
		family := uint8(unix.AF_UNSPEC)
		if fdb {
			family = unix.AF_BRIDGE
		}
		all = make(map[int][]NeighbourEntry)
		if err := k.listNeighbours(neighbourHeader(family, 0, 0, 0), fdb, func(e NeighbourEntry) { all[e.Link] = append(all[e.Link], e) }); err != nil {
			return err
		}
		k.remembered.neighbours[fdb] = all
	}
	for _, e := range all[link] {
		each(e)
	}
	return nil
}
