package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/topology"
)

func TestTopology(t *testing.T) {
	s := newShell(t)
	s.network(t, "blue", `[[{"subnet": "10.4.0.0/24"}]]`)
	web := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "blue", "netns:"+web.Path)
	t.Cleanup(func() { s.succeed(t, "disconnect", "blue", "netns:"+web.Path) })

	id := filepath.Base(web.Path)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := "host " + host + `
` + "`" + `- blue                 bridge  10.4.0.1/24  blue0, mtu 1500
   ` + "`" + `- TestTopology-web  eth0    10.4.0.2/24  default route
`
	if diff := cmp.Diff(want, s.succeed(t, "topology", "--ascii")); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}

	var g topology.Graph
	if err := json.Unmarshal([]byte(s.succeed(t, "topology", "-o", "json")), &g); err != nil || len(g.Of(topology.Interface)) != 1 {
		t.Errorf("JSON: %v, %+v", err, g)
	}
	file := filepath.Join(t.TempDir(), "host.svg")
	if said := s.succeed(t, "topology", "-o", "svg", file); said != "" {
		t.Errorf("with a file: printed %q", said)
	}
	content, err := os.ReadFile(file)
	var any struct{}
	if err != nil || xml.Unmarshal(content, &any) != nil || !strings.Contains(string(content), "TestTopology-web") {
		t.Errorf("SVG: %v\n%s", err, content)
	}
	if page := s.succeed(t, "topology", "-o", "html"); !strings.Contains(page, "<b>TestTopology-web</b>") {
		t.Errorf("HTML:\n%s", page)
	}
	if dot := s.succeed(t, "topology", "-o", "dot"); !strings.Contains(dot, `"link/blue0" -> "interface/`+id+`/eth0"`) {
		t.Errorf("DOT:\n%s", dot)
	}
	s.fail(t, "fairway: /none-such/host.svg: no such file or directory", "topology", "-o", "svg", "/none-such/host.svg")
	s.fail(t, `fairway: --output "png": give one of text, svg, html, dot, json`+"\nSee 'fairway topology --help'.", "topology", "-o", "png")
}
