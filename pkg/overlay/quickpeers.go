package overlay

import (
	"bytes"
	"strings"
)

// A document is read at each ADD, and may have a thousand peers. encoding/json takes longer for these than the kernel for
// telling all of their entries, so that the list of peers is read by a scanner of its own: in the form that Encode and
// most people write it. Whatever it does not know is left to encoding/json, and so are all errors.

// readAlready is the name of the one peer that quickPeers leaves in a document: encoding/json finds it where the peers are.
const readAlready = "(read already)"

// quickPeers reads the list of peers of a document, and gives the document with a list of readAlready in its place. ok is false for
// what it does not know.
func quickPeers(data []byte) (peers []PeerText, rest []byte, ok bool) {
	const key = `"peers"`
	at := bytes.Index(data, []byte(key))
	if at < 0 || bytes.IndexByte(data, '\\') >= 0 {
		return nil, nil, false
	}
	before, text := data[:at+len(key)], string(data[at+len(key):])
	if strings.Contains(text, key) {
		return nil, nil, false
	}
	s := scanner{text: text}
	count := strings.Count(text, `"vtep"`)
	peers, s.strings = make([]PeerText, 0, count), make([]string, 0, count)
	if !s.next(':') || !s.list(func() bool {
		peers = append(peers, PeerText{})
		return s.peer(&peers[len(peers)-1])
	}) {
		return nil, nil, false
	}
	rest = append(append([]byte(nil), before...), `:[{"node":"`+readAlready+`"}]`...)
	return peers, append(rest, text[s.at:]...), true
}

// readAlready says whether the list of quickPeers is the document's list of peers.
func (t PeersText) readAlready() bool {
	return len(t.Peers) == 1 && t.Peers[0].Node == readAlready && t.Peers[0].VTEP == "" && t.Peers[0].Subnets == nil
}

// scanner reads JSON that has no escapes. Its methods say whether they have read what they are for.
type scanner struct {
	text string
	at   int
	// strings is what lists of strings are cut from.
	strings []string
}

// next reads one byte, and white space before it.
func (s *scanner) next(c byte) bool {
	for s.at < len(s.text) {
		b := s.text[s.at]
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			if b == c {
				s.at++
			}
			return b == c
		}
		s.at++
	}
	return false
}

// list reads a list by its values.
func (s *scanner) list(value func() bool) bool {
	if !s.next('[') {
		return false
	}
	if s.next(']') {
		return true
	}
	for value() {
		if !s.next(',') {
			return s.next(']')
		}
	}
	return false
}

// string reads a string of printable ASCII.
func (s *scanner) string(value *string) bool {
	if !s.next('"') {
		return false
	}
	for i := s.at; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			*value = s.text[s.at:i]
			s.at = i + 1
			return true
		case c < 0x20 || c > 0x7e || c == '\\':
			return false
		}
	}
	return false
}

// peer reads an entry of the list.
func (s *scanner) peer(p *PeerText) bool {
	if !s.next('{') {
		return false
	}
	for {
		var key string
		if !s.string(&key) || !s.next(':') || !s.member(p, key) {
			return false
		}
		if !s.next(',') {
			return s.next('}')
		}
	}
}

// member reads the value of a key.
func (s *scanner) member(p *PeerText, key string) bool {
	switch key {
	case "node":
		return s.string(&p.Node)
	case "vtep":
		return s.string(&p.VTEP)
	case "subnets":
		from := len(s.strings)
		ok := s.list(func() bool {
			s.strings = append(s.strings, "")
			return s.string(&s.strings[len(s.strings)-1])
		})
		p.Subnets = s.strings[from:len(s.strings):len(s.strings)]
		return ok
	}
	return false
}
