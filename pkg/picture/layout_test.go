package picture

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// No box may lie on another, leave its lane, or be too small for its text; and nothing of the graph may be missing.
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
			s := lay(pageOf(g))
			all := s.wayBlocks
			for i, st := range s.strips {
				if i > 0 && s.strips[i-1].bottom() > st.y {
					t.Errorf("lane %s lies on the one above", st.lane.title())
				}
				for _, b := range st.blocks {
					within(t, st.rect, b)
				}
				all = append(all, st.blocks...)
			}
			for i, b := range all {
				fits(t, s, b)
				for _, other := range all[:i] {
					if b.x < other.right() && other.x < b.right() && b.y < other.bottom() && other.y < b.bottom() {
						t.Errorf("%s lies on %s", b.title, other.title)
					}
				}
			}
			ends := 0
			for _, l := range s.lanes {
				ends += len(l.chips)
			}
			if want := len(g.Of(topology.Interface)) + lonely(g); ends != want {
				t.Errorf("%d containers in lanes, want %d", ends, want)
			}
			tracks(t, s)
		})
	}
}

// lonely counts the containers without an interface, which have a place of their own.
func lonely(g topology.Graph) int {
	count := 0
	for _, c := range g.Of(topology.Container) {
		found := false
		for _, n := range g.Of(topology.Interface) {
			found = found || n.Container == c.ID
		}
		if !found {
			count++
		}
	}
	return count
}

// tracks expects the lines of different lanes on different tracks, so that each can be followed.
func tracks(t *testing.T, s *sheet) {
	t.Helper()
	of := make(map[float64]int)
	for _, r := range s.routes {
		if lane, ok := of[r.track]; ok && lane != r.lane {
			t.Errorf("lanes %d and %d share a track", lane, r.lane)
		}
		of[r.track] = r.lane
	}
}

func within(t *testing.T, r rect, b *block) {
	t.Helper()
	if b.x < r.x || b.y < r.y || b.right() > r.right() || b.bottom() > r.bottom() {
		t.Errorf("%s leaves its lane", b.title)
	}
}

func fits(t *testing.T, s *sheet, b *block) {
	t.Helper()
	if b.x < 0 || b.y < 0 || b.right() > s.width || b.bottom() > s.height {
		t.Errorf("%s at %.0f,%.0f leaves the sheet", b.title, b.x, b.y)
	}
	room := b.width - 2*padding + 1e-6
	for _, l := range append(append([]string{b.title}, b.lines...), b.faint...) {
		if float64(utf8.RuneCountInString(l))*charWidth > room {
			t.Errorf("%q does not fit into %s", l, b.title)
		}
	}
	if float64(1+len(b.lines)+len(b.faint))*lineHeight > b.height {
		t.Errorf("%s is not high enough for its lines", b.title)
	}
}
