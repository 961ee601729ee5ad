package picture

import (
	"fmt"
	"slices"

	"github.com/fairway-cni/fairway/pkg/identifier"
)

// Sizes in pixels. Text is of one width for all characters: 0.6 em in most fonts, and a little is added.
const (
	charWidth   = 7.4 // of text of 12 px
	bigWidth    = 10  // of text of 16 px
	lineHeight  = 17
	padding     = 12
	gap         = 14 // between boxes
	margin      = 24
	headHeight  = 44 // of the sheet
	laneHead    = 52 // of a lane: its name, then what is special
	trackWidth  = 9  // between the lines that lead from lanes to the ways out
	gutter      = 26 // beside these
	legendSpace = 44
	legendLine  = 38 // of a line in the legend and what is before its text
	widestLane  = 1180
	longest     = 46 // characters of a line
)

// rect is a place on the sheet.
type rect struct{ x, y, width, height float64 }

func (r rect) bottom() float64 { return r.y + r.height }
func (r rect) right() float64  { return r.x + r.width }

// block is a titled box with lines: a way, a chip, a peer.
type block struct {
	rect
	class string // way, chip, peer, or more: that which says how many more there are
	title string
	lines []string
	faint []string
	also  []int
	only  string // the name of what also names, where that is one
}

// height is what the block's text needs.
func (b *block) measure() {
	rows := 1 + len(b.lines) + len(b.faint)
	if len(b.also) > 0 {
		rows++
	}
	b.height = float64(rows)*lineHeight + padding
	widest := identifier.Width(b.title)
	for _, l := range append(append([]string{}, b.lines...), b.faint...) {
		widest = max(widest, identifier.Width(l))
	}
	if b.only != "" {
		widest = max(widest, identifier.Width("also ■ "+b.only))
	}
	b.width = max(b.width, float64(widest)*charWidth+2*padding)
}

// strip is a lane that has been laid out.
type strip struct {
	rect
	lane   lane
	number int
	blocks []*block
	head   []string // lines under the name
	peers  float64  // y of the words above the peers, 0: none
}

// route leads from a lane to a way out, by a track of its own.
type route struct {
	lane              int
	class             string
	x1, y1, track, x2 float64
	y2                float64
	tooltip           string
}

// sheet is a page that has been laid out.
type sheet struct {
	page
	wayBlocks     []*block
	strips        []*strip
	routes        []route
	notes         []string // under the ways
	notesY        float64
	width, height float64
}

// lay places the ways out at the left, the lanes below each other at the right, and the lines between them, each lane's on
// its own track, so that every line can be followed.
func lay(p page) *sheet {
	s := &sheet{page: p}
	left := s.layWays()
	tracks := 0
	for _, l := range p.lanes {
		if len(l.exits) > 0 {
			tracks++
		}
	}
	x := left + 2*gutter + float64(tracks)*trackWidth
	y := float64(margin + headHeight)
	room := float64(widestLane)
	for i := range p.lanes {
		st := layLane(p.lanes, i, x, y, room)
		s.strips = append(s.strips, st)
		y = st.bottom() + gap
	}
	widest := 420.0
	for _, st := range s.strips {
		widest = max(widest, st.width)
	}
	for _, st := range s.strips {
		st.width = widest
	}
	s.lines(left, tracks)
	s.width = max(x+widest+margin, s.legendWidth())
	s.height = max(y, s.notesY+float64(len(s.notes))*lineHeight) + legendSpace
	return s
}

// layWays places the ways out, and lists below them what else there is. It gives back their right edge.
func (s *sheet) layWays() float64 {
	widest, y := 0.0, float64(margin+headHeight)
	for _, w := range s.ways {
		b := &block{class: "way", title: clip(w.name), lines: w.lines}
		if w.down {
			b.class += " down"
		}
		b.measure()
		b.x, b.y = margin, y
		y = b.bottom() + gap
		widest = max(widest, b.width)
		s.wayBlocks = append(s.wayBlocks, b)
	}
	for _, b := range s.wayBlocks {
		b.width = widest
	}
	s.note("not in use yet", s.unused)
	s.note("other links", s.others)
	s.notesY = y + lineHeight
	for _, n := range s.notes {
		widest = max(widest, float64(identifier.Width(n))*charWidth)
	}
	return margin + max(widest, 150)
}

// note adds a list under a heading, folded like containers are.
func (s *sheet) note(heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	s.notes = append(s.notes, heading)
	for i, l := range lines {
		if i == folded-1 && len(lines) > folded {
			s.notes = append(s.notes, fmt.Sprintf("  and %d more", len(lines)-i))
			break
		}
		s.notes = append(s.notes, "  "+l)
	}
	s.notes = append(s.notes, "")
}

// layLane places a lane with its containers and peers in rows of equal boxes.
func layLane(lanes []lane, number int, x, y, room float64) *strip {
	l := lanes[number]
	st := &strip{rect: rect{x: x, y: y}, lane: l, number: number}
	st.head = wrap(append(append([]string{}, l.addrs...), l.badges...), int((room-2*padding)/charWidth))
	bottom := y + laneHead - lineHeight + float64(len(st.head))*lineHeight
	var chips, peers []*block
	for _, c := range l.chips {
		b := &block{class: "chip", title: c.name, lines: c.lines, faint: wrap(c.faint, longest), also: c.also}
		if c.down {
			b.class += " down"
		}
		if len(c.also) == 1 {
			b.only = clip(lanes[c.also[0]].title())
		}
		chips = append(chips, b)
	}
	for _, p := range l.peers {
		peers = append(peers, &block{class: "peer", title: p.name, lines: p.blocks})
	}
	right := 0.0
	bottom, right = st.rows(fold(chips, "containers"), bottom, room)
	if len(peers) > 0 {
		st.peers = bottom + lineHeight
		var wider float64
		bottom, wider = st.rows(fold(peers, "hosts"), bottom+lineHeight+6, room)
		right = max(right, wider)
	}
	st.height = bottom - y + padding
	st.width = right - x + padding
	head := float64(identifier.Width(l.title()))*bigWidth + float64(identifier.Width(l.subtitle()))*charWidth + 4*padding
	for _, text := range st.head {
		head = max(head, float64(identifier.Width(text))*charWidth+3*padding)
	}
	st.width = max(st.width, head)
	return st
}

// fold leaves the first of many, and says how many more there are.
func fold(blocks []*block, what string) []*block {
	if len(blocks) <= folded {
		return blocks
	}
	more := &block{class: "more", title: fmt.Sprintf("and %d more %s", len(blocks)-folded+1, what)}
	return append(blocks[:folded-1:folded-1], more)
}

// rows places boxes beside and below each other, all of one width, those of a row of one height.
func (st *strip) rows(blocks []*block, y, room float64) (bottom, right float64) {
	if len(blocks) == 0 {
		return y, st.x
	}
	widest := 0.0
	for _, b := range blocks {
		b.measure()
		widest = max(widest, b.width)
	}
	perRow := max(1, int((room-padding)/(widest+gap)))
	for from := 0; from < len(blocks); from += perRow {
		row := blocks[from:min(from+perRow, len(blocks))]
		tallest := 0.0
		for i, b := range row {
			b.width = widest
			b.x, b.y = st.x+padding+float64(i)*(widest+gap), y
			tallest = max(tallest, b.height)
			right = max(right, b.right())
		}
		for _, b := range row {
			b.height = tallest
		}
		y += tallest + gap
	}
	st.blocks = append(st.blocks, blocks...)
	return y - gap + padding/2, right
}

// lines leads each lane to its ways, on one track for each lane and to a place of its own at each way. The first lane has the track that is
// nearest to it, so that no line to a way above crosses another.
func (s *sheet) lines(left float64, tracks int) {
	arriving := make([]int, len(s.wayBlocks))
	track := left + gutter + float64(tracks-1)*trackWidth
	for _, st := range s.strips {
		if len(st.lane.exits) == 0 {
			continue
		}
		for _, e := range st.lane.exits {
			w := s.wayBlocks[e.way]
			s.routes = append(s.routes, route{
				lane: st.number, class: e.class, tooltip: st.lane.title() + ": " + exitWords(e.class),
				x1: st.x, y1: st.y + laneHead/2, track: track, x2: w.right(), y2: w.y + min(w.height-6, 12+float64(arriving[e.way])*6),
			})
			arriving[e.way]++
		}
		track -= trackWidth
	}
}

// classes are the classes of lines that the sheet has.
func (s *sheet) classes() []string {
	var there []string
	for _, class := range []string{"masquerade", "routed", "foreign", "segment", "tunnel"} {
		if slices.ContainsFunc(s.routes, func(r route) bool { return r.class == class }) {
			there = append(there, class)
		}
	}
	return there
}

func (s *sheet) legendWidth() float64 {
	width := 2.0 * margin
	for _, class := range s.classes() {
		width += legendLine + float64(len(exitWords(class)))*charWidth + gap
	}
	return width
}

// exitWords is what a line means.
func exitWords(class string) string {
	switch class {
	case "masquerade":
		return "leaves with the host's address"
	case "foreign":
		return "leaves as rules of others say"
	case "segment":
		return "is on the link's own segment"
	case "tunnel":
		return "reaches other hosts by tunnels"
	}
	return "is routed"
}

// wrap joins notes to lines that are not too long.
func wrap(notes []string, width int) []string {
	const separator = " · "
	var lines []string
	for _, note := range notes {
		last := len(lines) - 1
		if last >= 0 && identifier.Width(lines[last]+separator+note) <= width {
			lines[last] += separator + note
		} else {
			lines = append(lines, note)
		}
	}
	return lines
}

// clip leaves out the middle of a long text: names begin alike, and addresses end in what matters.
func clip(text string) string {
	runes := []rune(Style{}.printable(text))
	if len(runes) <= longest {
		return string(runes)
	}
	const half = (longest - 1) / 2
	return string(runes[:longest-1-half]) + "…" + string(runes[len(runes)-half:])
}
