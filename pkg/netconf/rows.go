package netconf

import (
	"bytes"
	"slices"
	"strconv"
)

// shortestRow is how many ports in a row become one entry.
const shortestRow = 16

// JoinRows is a configuration with one entry of runtimeConfig.portMappings for each row of equal ports, which tells by key more how many follow.
// Runtimes give each port by itself: a range of two thousand is 160 KB, through which everything that reads the configuration would go. All else
// is as it was, and so is what is not as it should be.
func JoinRows(text []byte) []byte {
	s := scanner{text: text}
	if !s.enter("runtimeConfig") || !s.enter("portMappings") {
		return text
	}
	from := s.at
	rows, ok := s.rows()
	if !ok {
		return text
	}
	to := s.at
	short := slices.Clone(text[:from+len("[")])
	for i, r := range rows {
		if i > 0 {
			short = append(short, ',')
		}
		short = r.write(short, text)
	}
	return append(short, text[to-len("]"):]...)
}

// entry is one of portMappings, and where its text begins and ends. An entry that has other keys has no port.
type entry struct {
	begin, end              int
	hostPort, containerPort int
	protocol, hostIP        []byte
	numbers                 [][2]int // where they begin and end
}

// row is the first of entries that go on from each other, how many more there are, and where they end.
type row struct {
	entry
	more, end int
}

func (r row) goesOn(e entry) bool {
	return r.hostPort > 0 && r.hostPort == r.containerPort && e.hostPort == e.containerPort && e.hostPort == r.hostPort+r.more+1 &&
		bytes.Equal(e.protocol, r.protocol) && bytes.Equal(e.hostIP, r.hostIP)
}

// goesOnAsText passes the next entry, if it is written as the first one and has the next port: the usual case.
func (s *scanner) goesOnAsText(r row) bool {
	if r.hostPort == 0 || r.hostPort != r.containerPort || len(r.numbers) != 2 {
		return false
	}
	var digits [8]byte
	next := strconv.AppendInt(digits[:0], int64(r.hostPort+r.more+1), 10)
	first, second := r.numbers[0], r.numbers[1]
	rest := s.text[s.at:]
	for _, piece := range [...][]byte{
		s.text[r.begin:first[0]], next, s.text[first[1]:second[0]], next, s.text[second[1]:r.entry.end],
	} {
		if !bytes.HasPrefix(rest, piece) {
			return false
		}
		rest = rest[len(piece):]
	}
	s.at = len(s.text) - len(rest)
	return true
}

// write appends the row: as it came, when it is short.
func (r row) write(to, text []byte) []byte {
	if r.more+1 < shortestRow {
		return append(to, text[r.begin:r.end]...)
	}
	to = append(to, text[r.begin:r.entry.end-len("}")]...)
	to = append(to, `,"more":`...)
	return append(strconv.AppendInt(to, int64(r.more), 10), '}')
}

// rows reads a list of entries.
func (s *scanner) rows() (rows []row, ok bool) {
	for more := s.next('['); more; more = s.next(',') {
		s.space()
		last := len(rows) - 1
		if last >= 0 && s.goesOnAsText(rows[last]) {
			rows[last].more++
			rows[last].end = s.at
			continue
		}
		e, ok := s.entry()
		if !ok {
			return nil, false
		}
		if last >= 0 && rows[last].goesOn(e) {
			rows[last].more++
			rows[last].end = e.end
		} else {
			rows = append(rows, row{entry: e, end: e.end})
		}
	}
	return rows, s.next(']')
}

// entry reads an object with the keys of a published port.
func (s *scanner) entry() (e entry, ok bool) {
	e.begin = s.at
	known := true
	for more := s.next('{'); more; more = s.next(',') {
		s.space()
		name, ok := s.word()
		if !ok || !s.next(':') {
			return e, false
		}
		s.space()
		switch string(name) {
		case "hostPort":
			e.hostPort, ok = s.number(&e)
		case "containerPort":
			e.containerPort, ok = s.number(&e)
		case "protocol":
			e.protocol, ok = s.word()
		case "hostIP":
			e.hostIP, ok = s.word()
		default:
			known, ok = false, s.skip()
		}
		if !ok {
			return e, false
		}
	}
	if !known {
		e.hostPort = 0
	}
	ok = s.next('}')
	e.end = s.at
	return e, ok
}

// word reads a string that has no escapes.
func (s *scanner) word() (word []byte, ok bool) {
	if !s.next('"') {
		return nil, false
	}
	from := s.at
	for s.at < len(s.text) && s.text[s.at] != '"' {
		if s.text[s.at] == '\\' || s.text[s.at] < ' ' {
			return nil, false
		}
		s.at++
	}
	word = s.text[from:s.at]
	return word, s.next('"')
}

// number reads a whole number above zero, of at most five digits, and notes where it stands.
func (s *scanner) number(in *entry) (n int, ok bool) {
	from := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		n = n*10 + int(s.text[s.at]-'0')
		if s.at++; s.at-from > len("65535") {
			return 0, false
		}
	}
	in.numbers = append(in.numbers, [2]int{from, s.at})
	return n, s.at > from && s.text[from] != '0'
}
