package picture

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// Style is how a tree of text looks.
type Style struct {
	// ASCII draws the branches without the box-drawing characters of Unicode.
	ASCII bool
	// Colour uses the escape sequences of terminals (ECMA-48).
	Colour bool
	// Width in characters, beyond which a row's notes go on below it; 0 is no limit.
	Width int
	// All shows every container of a network; otherwise of more than fifteen the first are shown, and how many more.
	All bool
}

// Text draws the graph as a tree: links of the host, what stands on them, and the containers behind.
func Text(w io.Writer, g topology.Graph, s Style) error {
	rows := treeOf(g, s.All)
	width := s.columns(rows)
	if s.Width > 0 && before(width) > s.Width-leastNotes {
		for i, r := range rows {
			rows[i].addrs, rows[i].notes = nil, append(r.addrs[:len(r.addrs):len(r.addrs)], r.notes...)
		}
		width = s.columns(rows)
	}
	var out strings.Builder
	fmt.Fprintln(&out, s.paint(bold, "host "+s.printable(g.Host)))
	for i, r := range rows {
		parent := i+1 < len(rows) && len(rows[i+1].above) > len(r.above)
		for _, line := range s.lines(r, width, parent) {
			fmt.Fprintln(&out, strings.TrimRight(line, " "))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// leastNotes is the room that notes need beside the columns; else the addresses give up theirs, and then notes stand below.
const leastNotes = 16

// columns are the widths of what is aligned.
func (s Style) columns(rows []row) (width [3]int) {
	for _, r := range rows {
		if r.what == "" && len(r.addrs)+len(r.notes) == 0 {
			continue // it has room beside it
		}
		for i, cell := range r.cells(s) {
			width[i] = max(width[i], identifier.Width(cell))
		}
	}
	return width
}

// before is where notes begin.
func before(width [3]int) int {
	at := 0
	for _, w := range width {
		if w > 0 {
			at += w + 2
		}
	}
	return at
}

// lines are a row, with its notes beside it or, where these do not fit, going on below.
func (s Style) lines(r row, width [3]int, parent bool) []string {
	cells, branch := r.cells(s), r.branch(s)
	name := s.printable(r.name)
	first := s.paint(faint, branch) + s.paint(r.colour(), name) + strings.Repeat(" ", max(0, width[0]-identifier.Width(branch+name)))
	for i, w := range width[1:] {
		if w > 0 {
			first += "  " + pad(cells[i+1], w)
		}
	}
	on, at := r.on(s, parent), before(width)
	beside := s.Width == 0 || s.Width-at > longestOf(r.notes)
	if !beside {
		at = identifier.Width(on) + 2
	}
	notes := s.wrap(r.notes, s.Width-at)
	lines := []string{first}
	for i, n := range notes {
		if i == 0 && beside {
			lines[0] += "  " + s.paint(faint, n)
			continue
		}
		lines = append(lines, s.paint(faint, pad(on, at)+n))
	}
	return lines
}

func longestOf(notes []string) int {
	longest := 0
	for _, n := range notes {
		longest = max(longest, identifier.Width(n))
	}
	return longest
}

// wrap joins notes to lines of at most a width, or to one where that is not positive. A note that is longer goes on in the next line.
func (s Style) wrap(notes []string, width int) []string {
	var lines []string
	for i, note := range notes {
		text := s.printable(note)
		if i < len(notes)-1 {
			text += ","
		}
		last := len(lines) - 1
		if last >= 0 && (width <= 0 || identifier.Width(lines[last]+" "+text) <= width) {
			lines[last] += " " + text
			continue
		}
		for width > 0 && identifier.Width(text) > width {
			begin := fitting(text, width)
			lines = append(lines, text[:begin])
			text = text[begin:]
		}
		lines = append(lines, text)
	}
	return lines
}

// fitting is how many bytes the characters have with which a text begins that fit into a width; at least one does.
func fitting(text string, width int) int {
	columns := 0
	for i, r := range text {
		if columns += identifier.Width(string(r)); columns > width && i > 0 {
			return i
		}
	}
	return len(text)
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-identifier.Width(s)))
}

// cells are the columns that are aligned.
func (r row) cells(s Style) [3]string {
	return [3]string{r.branch(s) + s.printable(r.name), s.printable(r.what), strings.Join(r.addrs, " ")}
}

// branch is what leads to the row's name.
func (r row) branch(s Style) string {
	fork, last := "├─ ", "└─ "
	if s.ASCII {
		fork, last = "|- ", "`- "
	}
	if r.last {
		return s.through(r.above) + last
	}
	return s.through(r.above) + fork
}

// on is what stands in the place of the branch on further lines of the row.
func (r row) on(s Style, parent bool) string {
	return s.through(append(slices.Clone(r.above), !r.last, parent))
}

// through is a column for each level, with a line where more follows.
func (s Style) through(levels []bool) string {
	through := "│  "
	if s.ASCII {
		through = "|  "
	}
	var b strings.Builder
	for _, more := range levels {
		if more {
			b.WriteString(through)
		} else {
			b.WriteString("   ")
		}
	}
	return b.String()
}

// Parameters of the sequence SGR.
const (
	plain = ""
	bold  = "1"
	faint = "2"
	red   = "31"
)

// inks are the colours of networks, in the order in which they are drawn. Red is for what is down.
var inks = [...]string{"34", "33", "32", "35", "36", "94", "93", "92", "95", "96"}

func (r row) colour() string {
	switch {
	case r.node.Down:
		return red
	case r.node.Kind == topology.Unused:
		return faint
	case r.ink > 0:
		return inks[(r.ink-1)%len(inks)]
	case r.node.Kind == topology.Interface, r.node.Kind == topology.Container:
		return bold
	}
	return plain
}

func (s Style) paint(colour, text string) string {
	if !s.Colour || colour == plain || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// printable replaces what would move a terminal's cursor or break a line, and what is not ASCII when only that is wanted.
func (s Style) printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || s.ASCII && r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}
