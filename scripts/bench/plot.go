package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"strings"
)

// Measures of the plot in pixels.
const (
	plotLine, plotName, plotScale, plotRight = 20, 330, 420, 130
	plotTop                                  = 56
	plotLeast, plotMost                      = 0.005, 30.0 // the ends of the scale of ratios
)

// plot draws the rows that are held against something: one bar from 1 to the ratio, on a scale in which twice as long is as far
// as half as long, and a mark at the goal. The text is read by whoever does not tell the colours apart.
func plot(w io.Writer, rows []Row) error {
	rows = compared(rows)
	var s strings.Builder
	width, height := plotName+plotScale+plotRight, plotTop+plotLine*len(rows)+12
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" `+
		`font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	s.WriteString("<title>Ratios of the medians</title>\n" +
		"<style>text{fill:#1f2328}.scale{stroke:#d0d7de}.one{stroke:#57606a}.bar{fill:#6e7781}.met{fill:#1a7f37}.missed{fill:#bc4c00}.goal{stroke:#1f2328;stroke-width:2}" +
		"@media (prefers-color-scheme:dark){text{fill:#e6edf3}.scale{stroke:#30363d}.one{stroke:#8b949e}.bar{fill:#8b949e}.met{fill:#3fb950}.missed{fill:#f0883e}.goal{stroke:#e6edf3}}</style>\n")
	fmt.Fprintf(&s, `<text x="8" y="18" font-size="14">Ratio of the medians to the reference; a line marks the goal</text>`+"\n")
	for _, tick := range []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10} {
		class := "scale"
		if tick == 1 {
			class = "one"
		}
		x := place(tick)
		fmt.Fprintf(&s, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			class, x, x, plotTop-8, height-8, x, plotTop-14, tick)
	}
	for i, r := range rows {
		r.draw(&s, plotTop+plotLine*i)
	}
	s.WriteString("</svg>\n")
	_, err := io.WriteString(w, s.String())
	return err
}

// compared is the rows with a ratio.
func compared(rows []Row) (some []Row) {
	for _, r := range rows {
		if len(r.Reference) > 0 && r.Ratio > 0 {
			some = append(some, r)
		}
	}
	return some
}

// place is where a ratio lies.
func place(ratio float64) float64 {
	ratio = min(max(ratio, plotLeast), plotMost)
	return plotName + plotScale*math.Log(ratio/plotLeast)/math.Log(plotMost/plotLeast)
}

func (r Row) draw(s *strings.Builder, y int) {
	class, mark := "bar", ""
	if at := r.Goal.bound(); at != 0 {
		class = "missed"
		if r.Goal.met(r.Ratio) {
			class = "met"
		}
		mark = fmt.Sprintf(`<line class="goal" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, place(at), place(at), y+1, y+plotLine-5)
	}
	from, to := place(min(r.Ratio, 1)), place(max(r.Ratio, 1))
	fmt.Fprintf(s, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>%s<text x="%d" y="%d">%s %s</text>`+"\n",
		plotName-8, y+12, html.EscapeString(strings.TrimSpace(r.Case)+" "+string(r.Verb)), class, from, y+3, max(to-from, 1), plotLine-8, mark,
		plotName+plotScale+8, y+12, short(r.Ratio), html.EscapeString(r.Goal.verdict(r.Ratio)))
}

// bound is the ratio that a goal names, or 0.
func (g Goal) bound() float64 { return max(g.AtMost, g.AtLeast) }

// replot draws what an earlier run has written as JSON.
func replot(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var rows []Row
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return writePlot(to, rows)
}

func writePlot(path string, rows []Row) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := plot(f, rows); err != nil {
		_ = f.Close() // the first failure says why
		return err
	}
	return f.Close()
}
