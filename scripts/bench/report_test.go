package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrintRows(t *testing.T) {
	rows := []Row{
		{Case: "bridge", Verb: add, Unit: milliseconds, Upstream: Samples{12, 8, 10, 9}, Ours: Samples{5, 3, 4, 4}, Ratio: 4 / 9.5,
			Goal: atMost(0.5)},
		{Case: "bridge", Verb: del, Unit: milliseconds, Upstream: Samples{20, 30, 25}, Ours: Samples{24, 22, 23}, Ratio: 0.92},
		{Case: "in flight", Verb: add, Unit: perSecond, Upstream: Samples{57}, Ours: Samples{285}, Ratio: 285 / 57.,
			Goal: atLeast(5.5)},
	}
	want := `bridge                             ADD  ms    8.00   9.50   12.0     3.00   4.00   5.00     0.42  ≤ 0.5   met
                                   DEL  ms    20.0   25.0   30.0     22.0   23.0   24.0     0.92
in flight                          ADD  /s           57.0                    285            5.00  ≥ 5.5   missed
`
	var got strings.Builder
	printRows(&got, rows)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestGrowth(t *testing.T) {
	rows := []Row{
		{Case: onePresent, Verb: add, Upstream: Samples{20}, Ours: Samples{4}},
		{Case: onePresent, Verb: del, Upstream: Samples{90}, Ours: Samples{20}},
		{Case: manyPresent, Verb: add, Upstream: Samples{50}, Ours: Samples{6}},
	}
	want := []Row{{Case: "500 containers present, against 1", Verb: add, Unit: times, Goal: atMost(2), Ratio: 1.5,
		Upstream: Samples{2.5}, Ours: Samples{1.5}}}
	if diff := cmp.Diff(want, growth(rows)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := growth(rows[:2]); got != nil {
		t.Errorf("growth without one of its cases: got %v, want none", got)
	}
}

func TestSample(t *testing.T) {
	tests := []struct {
		name string
		c    Case
		took time.Duration
		want float64
	}{
		{"one attachment: milliseconds", Case{}, 1500 * time.Microsecond, 1.5},
		{"several in flight: per second", Case{InFlight: 50}, 500 * time.Millisecond, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.sample(tt.took); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// The name of a case is what Growth finds it by, and every configuration has to be a network for both suites.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		seen[c.Name] = true
		network, err := suite{loopback: "none"}.network(c, "/data")
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
		} else if strings.Contains(string(network.Bytes), "$") {
			t.Errorf("%s: a placeholder is left in %s", c.Name, network.Bytes)
		}
	}
	for _, g := range growths() {
		if !seen[g.Base] || !seen[g.Over] {
			t.Errorf("%s: compares a case that does not exist", g.Name)
		}
	}
}
