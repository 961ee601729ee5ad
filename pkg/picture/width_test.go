package picture_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/picture"
	"github.com/fairway-cni/fairway/pkg/topology"
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

// TestTextOfWideNames: columns are aligned by what a terminal shows.
func TestTextOfWideNames(t *testing.T) {
	g := load(t, "town3")
	for i, n := range g.Nodes {
		if n.Kind == topology.Container {
			g.Nodes[i].Name = []string{"名前", "gro\u0308ße", "🐳", "plain"}[i%4]
		}
	}
	for _, width := range []int{0, 50, 60, 70} {
		var out bytes.Buffer
		if err := picture.Text(&out, g, picture.Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		at := map[int]bool{}
		for line := range strings.Lines(out.String()) {
			if before, _, ok := strings.Cut(line, " eth0 "); ok && !strings.Contains(line, "device") {
				at[identifier.Width(before)] = true
			}
			if width > 0 && identifier.Width(strings.TrimRight(line, "\n")) > width {
				t.Errorf("width %d: %s", width, line)
			}
		}
		if len(at) != 1 {
			t.Errorf("width %d: columns begin at %v:\n%s", width, at, out.String())
		}
	}
}
