package picture_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/picture"
	"github.com/fairway-cni/fairway/pkg/topology"
)

var update = flag.Bool("update", false, "write the golden files afresh")

// graphs are those of the tests of pkg/topology.
var graphs = []string{"office", "crowd", "hostile", "bare"}

func load(t *testing.T, name string) topology.Graph {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "topology", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g topology.Graph
	if err := json.Unmarshal(content, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestText(t *testing.T) {
	for _, name := range graphs {
		t.Run(name, func(t *testing.T) {
			for ending, style := range map[string]picture.Style{
				".txt": {}, ".ascii.txt": {ASCII: true}, ".colour.txt": {Colour: true},
			} {
				var out bytes.Buffer
				if err := picture.Text(&out, load(t, name), style); err != nil {
					t.Fatal(err)
				}
				golden(t, name+ending, out.Bytes())
			}
		})
	}
}

func TestSVG(t *testing.T) {
	for _, name := range graphs {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := picture.SVG(&out, load(t, name)); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".svg", out.Bytes())
			for d := xml.NewDecoder(&out); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("not well-formed: %v", err)
				}
			}
		})
	}
}

func TestDOT(t *testing.T) {
	for _, name := range graphs {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := picture.DOT(&out, load(t, name)); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".dot", out.Bytes())
		})
	}
}
