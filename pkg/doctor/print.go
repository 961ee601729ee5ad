package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/fairway-cni/fairway/pkg/identifier"
)

// Terminal is what findings are printed on.
type Terminal struct {
	// Width is that of a line. 0: any.
	Width int
	// Colour is for terminals.
	Colour bool
}

// Print writes findings: the message, then the command that mends it on a line of its own, then advice. Commands are never broken, so that
// they can be copied.
func Print(w io.Writer, findings []Finding, t Terminal) error {
	name := 0
	for _, f := range findings {
		name = max(name, len(f.Check))
	}
	var out strings.Builder
	for _, f := range findings {
		level := fmt.Sprintf("%-9s", f.Level)
		if t.Colour {
			level = "\x1b[" + colours[f.Level] + "m" + level + "\x1b[0m"
		}
		indent := strings.Repeat(" ", len("undecided")+2+name+2)
		fmt.Fprintf(&out, "%s  %-*s  ", level, name, f.Check)
		lines := wrap(oneLine(f.Message), t.Width-len(indent))
		if f.Command != "" {
			lines = append(lines, "$ "+oneLine(f.Command))
		}
		if f.Remedy != "" {
			lines = append(lines, wrap("remedy: "+oneLine(f.Remedy), t.Width-len(indent))...)
		}
		out.WriteString(strings.Join(lines, "\n"+indent) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// wrap breaks a text between words. Too narrow a width breaks nothing.
func wrap(text string, width int) []string {
	const least = 20
	if width < least {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case identifier.Width(line)+1+identifier.Width(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// colours are parameters of the sequence SGR (ECMA-48): green, cyan, yellow, red.
var colours = map[Level]string{OK: "32", Undecided: "36", Warning: "33", Error: "1;31"}

// oneLine keeps what others have said, errors of plugins say, from breaking a line or moving a terminal's cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
