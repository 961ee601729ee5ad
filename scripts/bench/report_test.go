package main

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestMain puts the tests into namespaces of their own.
func TestMain(m *testing.M) { testnet.Run(m) }

func TestPrintRows(t *testing.T) {
	rows := []Row{
		{Case: "bridge", Verb: add, Unit: milliseconds, Reference: Samples{12, 8, 10, 9}, Ours: Samples{5, 3, 4, 4}, Ratio: 4 / 9.5,
			Goal: atMost(0.5)},
		{Case: "bridge", Verb: del, Unit: milliseconds, Reference: Samples{20, 30, 25}, Ours: Samples{24, 22, 23}, Ratio: 0.92},
		{Case: "in flight", Verb: add, Unit: perSecond, Reference: Samples{57}, Ours: Samples{285}, Ratio: 285 / 57.,
			Goal: atLeast(5.5)},
		{Case: "alone", Verb: makeAll, Unit: milliseconds, Ours: Samples{30, 20, 1200}, Goal: atMost(100)},
		{Case: "stream", Verb: send, Unit: gigabits, Reference: Samples{10}, Ours: Samples{9}, Ratio: 0.9, Goal: atLeast(0.95)},
	}
	want := `bridge                             ADD  ms    8.00   9.50   12.0     3.00   4.00   5.00     0.42  ≤ 0.5   met
                                   DEL  ms    20.0   25.0   30.0     22.0   23.0   24.0     0.92
in flight                          ADD  /s           57.0                    285            5.00  ≥ 5.5   missed
alone                              make ms                           20.0   30.0   1200           ≤ 100   met
stream                             send Gb/s         10.0                   9.00            0.90  ≥ 0.95  missed
`
	var got strings.Builder
	printRows(&got, rows)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestGrowth(t *testing.T) {
	rows := []Row{
		{Case: onePresent, Verb: add, Reference: Samples{20}, Ours: Samples{4}},
		{Case: onePresent, Verb: del, Reference: Samples{90}, Ours: Samples{20}},
		{Case: manyPresent, Verb: add, Reference: Samples{50}, Ours: Samples{6}},
	}
	want := []Row{{Case: "500 containers present, against 1", Verb: add, Unit: times, Goal: atMost(1.5), Ratio: 1.5,
		Reference: Samples{2.5}, Ours: Samples{1.5}}}
	if diff := cmp.Diff(want, growth(rows)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := growth(rows[:2]); got != nil {
		t.Errorf("growth without one of its cases: got %v, want none", got)
	}
}

func TestP99(t *testing.T) {
	var s Samples
	for i := range 200 {
		s = append(s, float64(200-i))
	}
	for count, want := range map[int]float64{200: 198, 100: 199, 99: 200, 1: 200} {
		if got := s[:count].p99(); got != want {
			t.Errorf("of %d: %g, want %g", count, got, want)
		}
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

// Names are what rows are selected and what Growth finds its cases by, and every configuration has to be a network for both
// suites.
func TestCases(t *testing.T) {
	all := cases()
	for _, g := range overlayGrowths() {
		all = append(all, g.Over)
		checkCase(t, g.Base)
	}
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		seen[c.Name] = true
		checkCase(t, c)
	}
	for _, g := range growths() {
		if !seen[g.Base] || !seen[g.Over] {
			t.Errorf("%s: compares a case that does not exist", g.Name)
		}
	}
}

func checkCase(t *testing.T, c Case) {
	t.Helper()
	network, err := suite{loopback: "none"}.network(c, "/data")
	if err != nil {
		t.Errorf("%s: %v", c.Name, err)
	} else if strings.Contains(string(network.Bytes), "$") {
		t.Errorf("%s: a placeholder is left in %s", c.Name, network.Bytes)
	}
}

func TestSelected(t *testing.T) {
	list := append(bench{}.besideUpstream(), bench{}.ofOverlay()...)
	for pattern, want := range map[string][]string{
		"^macvlan$":    {"macvlan"},
		"document|TCP": {"document of 1000 peers", "document of 5000 peers", streamName, encryptedName, kernelName},
		"nothing":      nil,
	} {
		var got []string
		for _, m := range selected(list, regexp.MustCompile(pattern)) {
			got = append(got, m.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", pattern, diff)
		}
	}
}

func TestOverlayHosts(t *testing.T) {
	hosts := overlayHosts(manyPeers)
	if err := overlayNetwork().Check(hosts); err != nil {
		t.Error(err)
	}
	if got := len(hosts.Peers); got != manyPeers+1 {
		t.Errorf("%d hosts, want %d", got, manyPeers+1)
	}
}

func TestStreamInTurns(t *testing.T) {
	const rounds, ways = 40, 3
	var order []int
	samples, err := streamInTurns(t.Context(), rounds, ways, func(turn int) (float64, error) {
		order = append(order, turn)
		return float64(turn * 10), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	behind := map[[2]int]bool{}
	for i, turn := range order[1:] {
		behind[[2]int{order[i], turn}] = true
	}
	for a := range ways {
		for b := range ways {
			if a != b && !behind[[2]int{a, b}] {
				t.Errorf("in no round was %d behind %d", b, a)
			}
		}
	}
	for turn, got := range samples {
		if want := slices.Repeat(Samples{float64(turn * 10)}, rounds); !slices.Equal(got, want) {
			t.Errorf("samples of %d: %v", turn, got)
		}
	}
}

// A stream between two ends of one namespace shows that the sender ends with it.
func TestStream(t *testing.T) {
	here := &testnet.Namespace{Path: "/proc/self/ns/net"}
	rate, err := way{here, here, netip.MustParseAddr("127.0.0.1")}.stream(10*time.Millisecond, 10*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Errorf("%g Gb/s, %v", rate, err)
	}
}
