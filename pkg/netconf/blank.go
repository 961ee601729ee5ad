package netconf

import "strings"

// Blank is a configuration with null in place of one value, which is named by the keys that lead to it. Thousands of published ports are
// read by one of those who read the configuration; the others need not go through them. What is no JSON, or has no such value, is given
// back as it is.
func Blank(text []byte, path ...string) []byte {
	from, to, ok := find(text, path)
	if !ok {
		return text
	}
	blank := make([]byte, 0, len(text)-(to-from)+len("null"))
	blank = append(blank, text[:from]...)
	blank = append(blank, "null"...)
	return append(blank, text[to:]...)
}

// find is where a value lies.
func find(text []byte, path []string) (from, to int, ok bool) {
	s := scanner{text: text}
	for depth, key := range path {
		if !s.enter(key) {
			return 0, 0, false
		}
		if depth < len(path)-1 {
			continue
		}
		from = s.at
		ok = s.skip()
	}
	return from, s.at, ok
}

// scanner goes through JSON as far as it has to in order to find the end of a value. It trusts that it is JSON: what it takes for a value
// of what is none is found wrong by whoever decodes the rest.
type scanner struct {
	text []byte
	at   int
}

// enter goes to the value of a key in the object that comes next.
func (s *scanner) enter(key string) bool {
	if !s.next('{') {
		return false
	}
	for {
		s.space()
		from := s.at
		if !s.skip() || s.text[from] != '"' {
			return false
		}
		name := string(s.text[from+1 : s.at-1])
		if !s.next(':') {
			return false
		}
		s.space()
		if strings.EqualFold(name, key) { // as encoding/json compares keys
			return true
		}
		if !s.skip() || !s.next(',') {
			return false
		}
	}
}

// next passes a byte, if it comes next.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// skip passes a value: a string, or all up to the bracket that closes it, or to what ends a number or a word.
func (s *scanner) skip() bool {
	depth := 0
	for begun := s.at; s.at < len(s.text); {
		c := s.text[s.at]
		switch {
		case c == '"':
			if !s.skipString() {
				return false
			}
		case c == '{', c == '[':
			depth++
			s.at++
		case depth == 0 && strings.IndexByte(",]} :\t\r\n", c) >= 0:
			return s.at > begun
		case c == '}', c == ']':
			depth--
			s.at++
		default:
			s.at++
			continue
		}
		if depth == 0 {
			return true
		}
	}
	return false
}

// skipString passes a string that begins here.
func (s *scanner) skipString() bool {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return true
		}
	}
	return false
}
