package ports

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// A container's element in the set of publishers has a note of where its other elements are: its DEL looks these up, instead of listing
// all that is published on the host. The note is there before they are, and only ever gets longer: it may name what is gone, and leaves
// out nothing. Without one, as after `nft -f` has restored a ruleset, DEL lists.
//
// It is words: links of the host to the container as in ":br0", the container's addresses, and ports as in "6/80", "6/8000+99" for a
// hundred in a row, and "17/53@192.0.2.1" at one address of the host.

// tooMany is the note of a container whose elements do not fit into one.
const tooMany = "*"

// words are those of a note about what is declared.
func (p Published) words(link string) (words []string) {
	if link != "" {
		words = append(words, ":"+link)
	}
	for _, addr := range p.Addrs {
		words = append(words, addr.String())
	}
	for _, port := range p.eachPort() {
		words = append(words, port.word())
	}
	return words
}

func (p Port) word() string {
	text := fmt.Sprintf("%d/%d", p.Protocol, p.HostPort)
	if p.isRun() {
		text += fmt.Sprintf("+%d", p.More)
	}
	if !p.anywhere() {
		text += "@" + p.HostIP.String()
	}
	return text
}

// publisher is an owner's element with a note of some words.
func publisher(owner state.Owner, words []string) kernel.Element {
	e := kernel.Element{Set: publishersSet(), Key: nftable.IfName(owner.HostLink()), Comment: owner.Tag()}
	note := strings.Join(words, " ")
	if len(note) > kernel.NoteRoom-len(e.Comment) || slices.Contains(words, tooMany) {
		note = tooMany
	}
	e.Note = []byte(note)
	return e
}

// enter writes the owner's note, or extends it. It gives the element if there was none. The error wraps unix.ENOENT when others change the
// ruleset meanwhile.
func (p Published) enter(k *kernel.Kernel, link string) (made []kernel.Element, err error) {
	held, err := nftable.LookUp(k, publisher(p.Owner, nil))
	switch {
	case err != nil:
		return nil, err
	case held.Key != nil && held.Comment != p.Owner.Tag():
		return nil, fmt.Errorf("nftables set %s %s has %q in the place of %q, %w", nftable.TableName(Table()), held.Set.Name, held.Comment, p.Owner.Tag(), state.ErrConflict)
	case held.Key != nil:
		return nil, p.extend(k, held, p.words(link))
	}
	made = []kernel.Element{publisher(p.Owner, p.words(link))}
	return made, meanwhile(k.AddElements(made))
}

// extend adds words to a note.
func (p Published) extend(k *kernel.Kernel, held kernel.Element, added []string) error {
	e := publisher(p.Owner, union(notedWords(held.Note), added))
	if slices.Equal(e.Note, held.Note) {
		return nil
	}
	generation, err := k.Generation()
	if err != nil {
		return err
	}
	if now, err := nftable.LookUp(k, held); err != nil || !slices.Equal(now.Note, held.Note) {
		return errors.Join(err, meanwhile(unix.ERESTART))
	}
	return meanwhile(k.ReplaceUnchanged(generation, []kernel.Element{held}, []kernel.Element{e}))
}

// meanwhile has nftable.Again try again what failed because others have changed the ruleset.
func meanwhile(err error) error {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ERESTART) {
		return fmt.Errorf("nft list table %s: %w meanwhile: %w", nftable.TableName(Table()), err, unix.ENOENT)
	}
	return err
}

// notedWords are the words of a note; of none, that it does not say all.
func notedWords(note []byte) []string {
	if words := strings.Fields(string(note)); len(words) > 0 {
		return words
	}
	return []string{tooMany}
}

// union is what either list has, in the order in which it came.
func union(before, added []string) []string {
	for _, word := range added {
		if !slices.Contains(before, word) {
			before = append(before, word)
		}
	}
	return before
}

// noted gives, as far as they name a set and a key, the elements that a note says an owner may have. ok is false for a note that does not
// say all.
func noted(owner state.Owner, note []byte) (elements []kernel.Element, ok bool) {
	p := Published{Owner: owner, Hairpin: true, MasqueradeAll: true, Only: true}
	var links []string
	for _, word := range notedWords(note) {
		if link, isLink := strings.CutPrefix(word, ":"); isLink {
			links = append(links, link)
		} else if addr, err := netip.ParseAddr(word); err == nil {
			p.Addrs = append(p.Addrs, addr)
		} else if port, isPort := readWord(word); isPort {
			p.Ports = append(p.Ports, port)
		} else {
			return nil, false
		}
	}
	for _, addr := range p.Addrs {
		for _, port := range p.Ports {
			if k := (kind{of: addr, anywhere: port.anywhere(), ports: port.isRun()}); port.serves(addr) {
				key := port.key(k, port.HostPort)
				elements = append(elements, kernel.Element{Set: k.published(), Key: key}, kernel.Element{Set: k.limited(), Key: key})
			}
		}
	}
	elements = append(elements, p.beside("")...)
	for _, link := range links {
		elements = append(elements, p.beside(link)...)
	}
	return elements, true
}

func readWord(word string) (p Port, ok bool) {
	rest, at, single := strings.Cut(word, "@")
	protocol, rest, _ := strings.Cut(rest, "/")
	first, more, isRun := strings.Cut(rest, "+")
	if !isRun {
		more = "0"
	}
	var values [3]uint16
	for i, number := range []string{protocol, first, more} {
		value, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return p, false
		}
		values[i] = uint16(value)
	}
	p = Port{Protocol: uint8(values[0]), HostPort: values[1], More: values[2]}
	if p.ContainerPort = 1; isRun {
		p.ContainerPort = p.HostPort // which makes it a run
	}
	if single {
		var err error
		if p.HostIP, err = netip.ParseAddr(at); err != nil {
			return p, false
		}
	}
	return p, true
}

// removeNoted deletes the owner's elements where its note says they are, and gives back what they were. known is false without such a note.
func (p Published) removeNoted(k *kernel.Kernel) (gone []kernel.Element, known bool, err error) {
	held, err := nftable.LookUp(k, publisher(p.Owner, nil))
	if err != nil && !nftable.Without(k, err) {
		return nil, false, err
	}
	if held.Key == nil || held.Comment != p.Owner.Tag() {
		return nil, false, nil
	}
	places, known := noted(p.Owner, held.Note)
	if !known {
		return nil, false, nil
	}
	err = nftable.Again(func() error { // one may go with its own owner's DEL
		gone = nil
		found, err := k.ElementsAt(append(places, held))
		if err != nil {
			return nftable.Unsupported(err)
		}
		for _, e := range found {
			// A place may come twice, and any port of a range finds all of it.
			again := slices.ContainsFunc(gone, func(other kernel.Element) bool { return e.Set.Name == other.Set.Name && bytes.Equal(e.Key, other.Key) })
			if !again && (e.Comment == p.Owner.Tag() || e.Set.Name == insideSet().Name && isGone(k, e.Comment)) {
				gone = append(gone, e)
			}
		}
		return k.DeleteElements(gone)
	})
	if err != nil {
		return nil, true, fmt.Errorf("nft delete element %s: %w", nftable.TableName(Table()), err)
	}
	return gone, true, nil
}
