package picture

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// style has the colours of a light page and of a dark one (prefers-color-scheme). Every element has its colour by its
// class, as not all programs that show SVG know variables.
const style = `
  text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328 }
  .title { font-weight: bold } .faint { fill: #59636e }
  .paper { fill: #ffffff } .frame { fill: #f6f8fa; stroke: #d1d9e0 }
  .box { fill: #ffffff; stroke: #818b98; stroke-width: 1.2 } .bar { fill: #818b98 }
  .gateway .bar, .link .bar { fill: #1a7f37 } .gateway .box, .link .box { stroke: #1a7f37 }
  .bridge .bar { fill: #0969da } .bridge .box { stroke: #0969da }
  .vxlan .bar, .peer .bar { fill: #8250df } .vxlan .box, .peer .box { stroke: #8250df }
  .segment .bar, .routed .bar, .shared .bar { fill: #bc4c00 } .segment .box, .routed .box, .shared .box { stroke: #bc4c00 }
  .down .box, .unused .box { stroke-dasharray: 5 4; stroke: #818b98 } .down .bar, .unused .bar { fill: #818b98 }
  .wire { fill: none; stroke: #818b98; stroke-width: 1.5 } .wire.default, .wire.masquerade { stroke: #1a7f37 }
  .wire.masquerade { stroke-dasharray: 2 3 } .wire.tunnel { stroke: #8250df; stroke-dasharray: 7 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .faint { fill: #9198a1 }
    .paper { fill: #0d1117 } .frame { fill: #151b23; stroke: #3d444d }
    .box { fill: #0d1117; stroke: #656c76 } .bar { fill: #656c76 }
    .gateway .bar, .link .bar { fill: #3fb950 } .gateway .box, .link .box { stroke: #3fb950 }
    .bridge .bar { fill: #4493f8 } .bridge .box { stroke: #4493f8 }
    .vxlan .bar, .peer .bar { fill: #ab7df8 } .vxlan .box, .peer .box { stroke: #ab7df8 }
    .segment .bar, .routed .bar, .shared .bar { fill: #db6d28 } .segment .box, .routed .box, .shared .box { stroke: #db6d28 }
    .down .box, .unused .box { stroke: #656c76 } .down .bar, .unused .bar { fill: #656c76 }
    .wire { stroke: #656c76 } .wire.default, .wire.masquerade { stroke: #3fb950 } .wire.tunnel { stroke: #ab7df8 }
  }
`

// SVG draws the graph from the outside at the left to the containers at the right, legible on a light and a dark page.
func SVG(w io.Writer, g topology.Graph) error {
	s := lay(g)
	var out strings.Builder
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" xml:space=\"preserve\">\n",
		s.width, s.height, s.width, s.height)
	fmt.Fprintf(&out, "<title>%s</title>\n<style>%s</style>\n", escape("Networks of "+s.host), style)
	fmt.Fprintf(&out, "<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n")
	fmt.Fprintf(&out, "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"10\"/>\n",
		s.frame.x, s.frame.y, s.frame.width, s.frame.height)
	fmt.Fprintf(&out, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", s.frame.x+padding, s.frame.y+24, escape(s.host))
	for _, wire := range s.wires {
		wire.draw(&out)
	}
	for _, boxes := range s.columns {
		for _, b := range boxes {
			b.draw(&out)
		}
	}
	s.drawLegend(&out)
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

func (b *box) draw(out *strings.Builder) {
	fmt.Fprintf(out, "<g class=\"%s\"><title>%s</title>", b.class, escape(Style{}.printable(b.node.Name)))
	fmt.Fprintf(out, "<rect class=\"box\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"5\"/>", b.x, b.y, b.width, b.height)
	fmt.Fprintf(out, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"4\" height=\"%.1f\" rx=\"2\"/>\n", b.x, b.y, b.height)
	fmt.Fprintf(out, "  <text class=\"title\" x=\"%.1f\" y=\"%.1f\">%s</text>", b.x+padding, b.y+18, escape(b.title))
	if b.corner != "" {
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>", b.x+b.width-padding/2, b.y+18, escape(b.corner))
	}
	for i, l := range b.lines {
		x, y := b.x+padding, b.y+titleHeight+float64(i)*lineHeight+13
		if l.name != "" {
			fmt.Fprintf(out, "\n  <text x=\"%.1f\" y=\"%.1f\">%s</text>", x, y, escape(l.name))
		}
		if l.text == "" {
			continue
		}
		class := ""
		if l.faint {
			class = " class=\"faint\""
		}
		fmt.Fprintf(out, "\n  <text%s x=\"%.1f\" y=\"%.1f\">%s</text>", class, x+float64(l.in)*charWidth, y, escape(l.text))
	}
	out.WriteString("</g>\n")
}

func (w wire) draw(out *strings.Builder) {
	fmt.Fprintf(out, "<path class=\"wire %s\" d=\"%s\"><title>%s</title></path>\n", w.class, w.path(), escape(w.tooltip))
}

// path is a curve between columns, or an elbow within one.
func (w wire) path() string {
	if w.elbow {
		x := w.from.x + indent/2
		return fmt.Sprintf("M%.1f %.1f V%.1f H%.1f", x, w.from.y+w.from.height, w.toY, w.to.x)
	}
	x1, x2 := w.from.x+w.from.width, w.to.x
	bend := min(columnGap/2, (x2-x1)/2) // past a column, the curve keeps to the gaps on both its sides
	return fmt.Sprintf("M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f", x1, w.fromY, x1+bend, w.fromY, x2-bend, w.toY, x2, w.toY)
}

// drawLegend tells what the lines mean.
func (s *sheet) drawLegend(out *strings.Builder) {
	x, y := float64(margin), s.height-18
	for _, entry := range []struct{ class, text string }{
		{"default", "default route"}, {topology.Masquerade, "masquerade"}, {"forward", "routed, attached"}, {"tunnel", "tunnel"},
	} {
		fmt.Fprintf(out, "<path class=\"wire %s\" d=\"M%.1f %.1f h28\"/>", entry.class, x, y-4)
		fmt.Fprintf(out, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x+34, y, entry.text)
		x += 34 + float64(len(entry.text))*charWidth + 18
	}
}

// escape makes a text safe in XML, and drops what XML 1.0 does not allow.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
