package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print writes a line for each finding, with its remedy. Colours are for terminals.
func Print(w io.Writer, findings []Finding, colour bool) error {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	var out strings.Builder
	for _, f := range findings {
		level := fmt.Sprintf("%-7s", f.Level)
		if colour {
			level = "\x1b[" + colours[f.Level] + "m" + level + "\x1b[0m"
		}
		line := fmt.Sprintf("%s  %-*s  %s", level, width, f.Check, oneLine(f.Message))
		if f.Remedy != "" {
			line += "; remedy: " + oneLine(f.Remedy)
		}
		fmt.Fprintln(&out, line)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// colours are parameters of the sequence SGR (ECMA-48): green, yellow, red.
var colours = map[Level]string{OK: "32", Warning: "33", Error: "1;31"}

// oneLine keeps what others have said, errors of plugins say, from breaking a line or moving a terminal's cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
