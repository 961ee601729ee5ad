package picture

import "fmt"

// palette is the colours of lanes, which are told apart on a light and on a dark page; the eleventh lane has the first
// one's again.
var palette = [...]string{
	"#2f6fdb", "#c2410c", "#15803d", "#9333ea", "#b91c1c", "#0e7490", "#be185d", "#a16207", "#4d7c0f", "#475569",
}

// paletteCSS has a class for each colour: lane0 to lane9.
func paletteCSS() string {
	css := ""
	for i, c := range palette {
		css += fmt.Sprintf("  .ink.lane%d { fill: %s } .line.lane%d { stroke: %s }\n", i, c, i, c)
	}
	return css
}

func laneClass(lane int) string { return fmt.Sprintf("lane%d", lane%len(palette)) }
