package picture_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/picture"
)

// TestTextFits: whatever the width, no line is longer while names leave room, and no address is broken where there is room.
func TestTextFits(t *testing.T) {
	for _, name := range []string{"office", "crowd", "bare", "town24", "town200"} {
		g := load(t, name)
		for width := 40; width <= 160; width++ {
			for _, ascii := range []bool{false, true} {
				var out bytes.Buffer
				if err := picture.Text(&out, g, picture.Style{Width: width, ASCII: ascii, All: true}); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(out.String()) {
					if length := utf8.RuneCountInString(strings.TrimRight(line, "\n")); length > width {
						t.Errorf("%s, width %d: a line of %d: %s", name, width, length, line)
					}
				}
				for _, n := range g.Nodes {
					for _, a := range n.Addrs {
						if width >= 60 && !strings.Contains(out.String(), a.String()) {
							t.Errorf("%s, width %d: no %s", name, width, a)
						}
					}
				}
			}
		}
	}
}
