package picture

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/fairway-cni/fairway/pkg/topology"
)

//go:embed page.html
var pageHTML string

// HTML writes the graph as one page that needs nothing else: lanes as in SVG, to fold and to search in. The search may be
// given in the address, as topology.html#q=web.
func HTML(w io.Writer, g topology.Graph) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("page.html: %w", err)
	}
	return t.Execute(w, htmlOf(pageOf(g)))
}

// The types below are what page.html names.
type (
	htmlPage struct {
		Host           string
		Count          string
		Folded         int
		Palette        []template.CSS
		Ways           []htmlBox
		Lanes          []htmlLane
		Unused, Others []string
	}
	htmlLane struct {
		Number          int
		Class           string
		Title, Subtitle string
		Count           string
		Marks           []string
		Chips, Peers    []htmlBox
	}
	htmlBox struct {
		Container    string
		Name         string
		Down         bool
		Lines, Faint []string
		Also         []htmlLane
	}
)

func htmlOf(p page) htmlPage {
	h := htmlPage{Host: p.host, Folded: folded, Unused: p.unused, Others: p.others}
	for _, c := range palette {
		h.Palette = append(h.Palette, template.CSS(c))
	}
	for _, w := range p.ways {
		h.Ways = append(h.Ways, htmlBox{Name: w.name, Lines: w.lines})
	}
	for i, l := range p.lanes {
		lane := htmlLane{Number: i, Class: laneClass(i), Title: l.title(), Subtitle: l.subtitle(), Count: counted(len(l.chips))}
		lane.Marks = append(append(lane.Marks, l.addrs...), l.badges...)
		for _, e := range l.exits {
			lane.Marks = append(lane.Marks, exitWords(e.class)+" by "+p.ways[e.way].name)
		}
		for _, c := range l.chips {
			lane.Chips = append(lane.Chips, p.htmlChip(c))
		}
		for _, peer := range l.peers {
			lane.Peers = append(lane.Peers, htmlBox{Name: peer.name, Lines: peer.blocks})
		}
		h.Lanes = append(h.Lanes, lane)
	}
	h.Count = p.count()
	return h
}

func (p page) htmlChip(c chip) htmlBox {
	b := htmlBox{Container: c.container, Name: c.name, Down: c.down, Lines: c.lines, Faint: c.faint}
	for _, i := range c.also {
		b.Also = append(b.Also, htmlLane{Number: i, Class: laneClass(i), Title: p.lanes[i].title()})
	}
	return b
}

// count says how much there is: a container that is in several lanes counts once.
func (p page) count() string {
	containers := map[string]bool{}
	for _, l := range p.lanes {
		for _, c := range l.chips {
			containers[c.container] = true
		}
	}
	if len(p.lanes) == 1 {
		return counted(len(containers)) + " on 1 network"
	}
	return fmt.Sprintf("%s on %d networks", counted(len(containers)), len(p.lanes))
}

func counted(containers int) string {
	if containers == 1 {
		return "1 container"
	}
	return fmt.Sprintf("%d containers", containers)
}
