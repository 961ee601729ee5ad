package picture

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// No box may lie on another, leave the sheet, or be too small for its text.
func TestLayout(t *testing.T) {
	paths, err := filepath.Glob("../topology/testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no graphs: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var g topology.Graph
			if err := json.Unmarshal(content, &g); err != nil {
				t.Fatal(err)
			}
			s := lay(g)
			var all []*box
			for _, boxes := range s.columns {
				all = append(all, boxes...)
			}
			for i, b := range all {
				fits(t, s, b)
				for _, other := range all[:i] {
					if b.x < other.x+other.width && other.x < b.x+b.width && b.y < other.y+other.height && other.y < b.y+b.height {
						t.Errorf("%s lies on %s", b.title, other.title)
					}
				}
			}
			if got := len(g.Nodes) - len(g.Of(topology.Interface)); len(all) != got {
				t.Errorf("%d boxes, want one for each of %d nodes", len(all), got)
			}
		})
	}
}

func fits(t *testing.T, s *sheet, b *box) {
	t.Helper()
	if b.x < 0 || b.y < 0 || b.x+b.width > s.width || b.y+b.height > s.height {
		t.Errorf("%s at %.0f,%.0f leaves the sheet", b.title, b.x, b.y)
	}
	room := b.width - 2*padding + 1e-6
	if text := utf8.RuneCountInString(b.title) + utf8.RuneCountInString(b.corner); float64(text)*charWidth > room {
		t.Errorf("the title of %s does not fit", b.title)
	}
	for _, l := range b.lines {
		if float64(utf8.RuneCountInString(l.text))*charWidth > room {
			t.Errorf("%q does not fit into %s", l.text, b.title)
		}
	}
	if float64(len(b.lines))*lineHeight+titleHeight > b.height {
		t.Errorf("%s is not high enough for its lines", b.title)
	}
}
