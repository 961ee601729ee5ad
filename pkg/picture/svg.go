package picture

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// style has the colours of a light page and of a dark one (prefers-color-scheme). Every element has its colour by its
// class, as not all programs that show SVG know variables.
const style = `
  text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328 }
  .big { font-size: 16px; font-weight: bold } .title { font-weight: bold } .faint { fill: #59636e }
  .paper { fill: #ffffff } .strip { fill: #f6f8fa; stroke: #d1d9e0 }
  .box { fill: #ffffff; stroke: #d1d9e0; stroke-width: 1.2 } .way .box { stroke: #59636e; stroke-width: 1.6 }
  .down .box { stroke-dasharray: 5 4 } .more .box { fill: none; stroke-dasharray: 2 3 }
  .line { fill: none; stroke-width: 2 } .line.routed { stroke-dasharray: 9 4 } .line.foreign { stroke-dasharray: 2 4 }
  .line.tunnel { stroke-dasharray: 12 3 2 3 } .line.segment { stroke-width: 4 } .legend .line { stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .faint { fill: #9198a1 } .paper { fill: #0d1117 } .strip { fill: #151b23; stroke: #3d444d }
    .box { fill: #0d1117; stroke: #3d444d } .way .box { stroke: #9198a1 } .more .box { fill: none } .legend .line { stroke: #9198a1 }
  }
`

// SVG draws the graph: at the left the ways out of the host, at the right one lane for each network, in a colour of its own,
// with its containers. Lanes of more than fifteen are folded. It is legible on a light and a dark page.
func SVG(w io.Writer, g topology.Graph) error {
	s := lay(pageOf(g))
	var out strings.Builder
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n", s.width, s.height, s.width, s.height)
	fmt.Fprintf(&out, "<title>%s</title>\n<style>%s%s</style>\n", escape(s.host), style, paletteCSS())
	fmt.Fprintf(&out, "<rect class=\"paper\" width=\"%.0f\" height=\"%.0f\"/>\n", s.width, s.height)
	fmt.Fprintf(&out, "<text class=\"big\" x=\"%d\" y=\"%d\">%s</text>\n", margin, margin+20, escape(s.host))
	for _, b := range s.wayBlocks {
		b.draw(&out)
	}
	for i, n := range s.notes {
		fmt.Fprintf(&out, "<text class=\"faint\" x=\"%d\" y=\"%.1f\" xml:space=\"preserve\">%s</text>\n", margin, s.notesY+float64(i)*lineHeight, escape(n))
	}
	for _, st := range s.strips {
		st.draw(&out)
	}
	for _, r := range s.routes {
		r.draw(&out)
	}
	s.drawLegend(&out)
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

func (st *strip) draw(out *strings.Builder) {
	out.WriteString("<g>\n")
	fmt.Fprintf(out, "<rect class=\"strip\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"7\"/>", st.x, st.y, st.width, st.height)
	fmt.Fprintf(out, "<rect class=\"ink %s\" x=\"%.1f\" y=\"%.1f\" width=\"5\" height=\"%.1f\" rx=\"2\"/>\n", laneClass(st.number), st.x, st.y, st.height)
	title, x := st.lane.title(), st.x+padding+2
	fmt.Fprintf(out, "<text class=\"big\" x=\"%.1f\" y=\"%.1f\">%s</text>", x, st.y+22, escape(title))
	fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x+float64(identifier.Width(title))*bigWidth+10, st.y+22, escape(st.lane.subtitle()))
	for i, line := range st.head {
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x, st.y+40+float64(i)*lineHeight, escape(line))
	}
	if st.peers > 0 {
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">other hosts</text>\n", x, st.peers)
	}
	for _, b := range st.blocks {
		b.draw(out)
	}
	out.WriteString("</g>\n")
}

func (b *block) draw(out *strings.Builder) {
	fmt.Fprintf(out, "<g class=\"%s\"><title>%s</title>", b.class, escape(b.title))
	fmt.Fprintf(out, "<rect class=\"box\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"5\"/>", b.x, b.y, b.width, b.height)
	y := b.y + lineHeight
	write := func(class, text string) {
		fmt.Fprintf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>", class, b.x+padding, y, escape(text))
		y += lineHeight
	}
	if b.class == "more" {
		write("faint", b.title)
	} else {
		write("title", b.title)
	}
	for _, l := range b.lines {
		write("text", l)
	}
	for _, l := range b.faint {
		write("faint", l)
	}
	b.drawAlso(out, y)
	out.WriteString("</g>\n")
}

// drawAlso draws a small square in the colour of each other lane that the container is in, and names a single one.
func (b *block) drawAlso(out *strings.Builder, y float64) {
	const side, most = 9.0, 8
	if len(b.also) == 0 {
		return
	}
	fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">also</text>", b.x+padding, y)
	x := b.x + padding + 5*charWidth
	for i, lane := range b.also {
		if i == most {
			fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">…</text>", x, y)
			break
		}
		fmt.Fprintf(out, "<rect class=\"ink %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" rx=\"2\"/>", laneClass(lane), x, y-side, side, side)
		x += side + 4
	}
	if b.only != "" {
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">%s</text>", x, y, escape(b.only))
	}
}

// draw leads from the lane to its track, along it, and to the way out.
func (r route) draw(out *strings.Builder) {
	fmt.Fprintf(out, "<path class=\"line %s %s\" d=\"M%.1f %.1f H%.1f V%.1f H%.1f\"><title>%s</title></path>\n",
		r.class, laneClass(r.lane), r.x1, r.y1, r.track, r.y2, r.x2, escape(r.tooltip))
}

// drawLegend tells what those lines mean that the picture has.
func (s *sheet) drawLegend(out *strings.Builder) {
	x, y := float64(margin), s.height-18
	out.WriteString("<g class=\"legend\">\n")
	for _, class := range s.classes() {
		text := exitWords(class)
		fmt.Fprintf(out, "<path class=\"line %s\" d=\"M%.1f %.1f h30\"/>", class, x, y-4)
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x+legendLine, y, escape(text))
		x += legendLine + float64(len(text))*charWidth + gap
	}
	out.WriteString("</g>\n")
}

// escape makes a text safe in XML, and drops what XML 1.0 does not allow.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
