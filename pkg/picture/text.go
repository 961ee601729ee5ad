package picture

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// Style is how a tree of text looks.
type Style struct {
	// ASCII draws the branches without the box-drawing characters of Unicode.
	ASCII bool
	// Colour uses the escape sequences of terminals (ECMA-48).
	Colour bool
	// Width in characters, beyond which a line's notes are cut off; 0 is no limit.
	Width int
	// All shows every container of a network; otherwise of more than fifteen the first are shown, and how many more.
	All bool
}

// Text draws the graph as a tree: links of the host, what stands on them, and the containers behind.
func Text(w io.Writer, g topology.Graph, s Style) error {
	rows := treeOf(g, s.All)
	var width [3]int
	for _, r := range rows {
		for i, cell := range r.cells(s) {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	fmt.Fprintln(&out, s.paint(bold, "host "+s.printable(g.Host)))
	for _, r := range rows {
		fmt.Fprintln(&out, strings.TrimRight(s.line(r, width), " "))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (s Style) line(r row, width [3]int) string {
	cells, branch := r.cells(s), r.branch(s)
	name := s.printable(r.name)
	return s.paint(faint, branch) + s.paint(r.colour(), name) + strings.Repeat(" ", width[0]-utf8.RuneCountInString(branch+name)) +
		"  " + pad(cells[1], width[1]) + "  " + pad(cells[2], width[2]) + "  " + s.paint(faint, s.notes(r, width))
}

// notes are those of a row, as far as the width allows.
func (s Style) notes(r row, width [3]int) string {
	text := []rune(s.printable(strings.Join(r.notes, ", ")))
	before := width[0] + width[1] + width[2] + 6
	if s.Width == 0 || before+len(text) <= s.Width {
		return string(text)
	}
	more := "…"
	if s.ASCII {
		more = "~"
	}
	return strings.TrimRight(string(text[:max(0, s.Width-before-1)]), " ,") + more
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// cells are the columns that are aligned.
func (r row) cells(s Style) [3]string {
	return [3]string{r.branch(s) + s.printable(r.name), s.printable(r.what), strings.Join(r.addrs, " ")}
}

// branch is what leads to the row's name.
func (r row) branch(s Style) string {
	through, gap, fork, last := "│  ", "   ", "├─ ", "└─ "
	if s.ASCII {
		through, gap, fork, last = "|  ", "   ", "|- ", "`- "
	}
	var b strings.Builder
	for _, more := range r.above {
		if more {
			b.WriteString(through)
		} else {
			b.WriteString(gap)
		}
	}
	if r.last {
		b.WriteString(last)
	} else {
		b.WriteString(fork)
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
