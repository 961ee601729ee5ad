package main

import "fmt"

// Goal is a bound for a ratio. The zero value asks for nothing.
type Goal struct {
	AtMost  float64 `json:"atMost,omitempty"`
	AtLeast float64 `json:"atLeast,omitempty"`
}

func atMost(ratio float64) Goal  { return Goal{AtMost: ratio} }
func atLeast(ratio float64) Goal { return Goal{AtLeast: ratio} }

func (g Goal) met(ratio float64) bool {
	return (g.AtMost == 0 || ratio <= g.AtMost) && ratio >= g.AtLeast
}

// verdict is the goal and whether a ratio reaches it.
func (g Goal) verdict(ratio float64) string {
	var text string
	switch {
	case g.AtMost != 0:
		text = fmt.Sprintf("≤ %g", g.AtMost)
	case g.AtLeast != 0:
		text = fmt.Sprintf("≥ %g", g.AtLeast)
	default:
		return ""
	}
	if g.met(ratio) {
		return fmt.Sprintf("%-7s met", text)
	}
	return fmt.Sprintf("%-7s missed", text)
}
