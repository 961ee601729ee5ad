package picture_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/picture"
	"github.com/fairway-cni/fairway/pkg/topology"
)

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
				golden.Compare(t, name+ending, out.String())
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
			golden.Compare(t, name+".svg", out.String())
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

// The pictures of the documentation are drawn anew by -update.
func TestPicturesOfTheDocumentation(t *testing.T) {
	for _, name := range []string{"town3", "town24", "town200"} {
		var out bytes.Buffer
		if err := picture.SVG(&out, load(t, name)); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "../../../docs/pictures/"+name+".svg", out.String())
	}
}

func TestDOT(t *testing.T) {
	for _, name := range graphs {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := picture.DOT(&out, load(t, name)); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".dot", out.String())
		})
	}
}

func TestHTML(t *testing.T) {
	for _, name := range graphs {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := picture.HTML(&out, load(t, name)); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".html", out.String())
		})
	}
}
