package hostlocal

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseRange(t *testing.T, s rangeSection) Range {
	t.Helper()
	r, err := s.parse("range")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDefaultRange(t *testing.T) {
	tests := []struct {
		section rangeSection
		want    string // start-end gateway
		size    uint64 // of a set of it alone
	}{
		{rangeSection{Subnet: "10.1.0.0/24"}, "10.1.0.1-10.1.0.254 10.1.0.1", 253},
		{rangeSection{Subnet: "10.1.0.0/30"}, "10.1.0.1-10.1.0.2 10.1.0.1", 1},
		{rangeSection{Subnet: "10.1.0.0/31"}, "10.1.0.0-10.1.0.1 10.1.0.1", 1},
		{rangeSection{Subnet: "10.1.0.7/32"}, "10.1.0.7-10.1.0.7 invalid IP", 1},
		{rangeSection{Subnet: "fd00::/127"}, "fd00::-fd00::1 fd00::1", 1},
		{rangeSection{Subnet: "fd00::5/128"}, "fd00::5-fd00::5 invalid IP", 1},
		{rangeSection{Subnet: "fd00::/120"}, "fd00::1-fd00::ff fd00::1", 254},
		{rangeSection{Subnet: "fd00::/63"}, "fd00::1-fd00::1:ffff:ffff:ffff:ffff fd00::1", math.MaxUint64 - 1},
		{rangeSection{Subnet: "fd00::/48"}, "fd00::1-fd00::ffff:ffff:ffff:ffff:ffff fd00::1", math.MaxUint64 - 1},
		{rangeSection{Subnet: "0.0.0.0/0"}, "0.0.0.1-255.255.255.254 0.0.0.1", 1<<32 - 3},
		{rangeSection{Subnet: "10.1.0.0/20"}, "10.1.0.1-10.1.15.254 10.1.0.1", 4093},
		{rangeSection{Subnet: "10.1.0.0/24", Gateway: "10.1.0.254"}, "10.1.0.1-10.1.0.254 10.1.0.254", 253},
		{rangeSection{Subnet: "10.1.0.0/24", RangeStart: "10.1.0.10", RangeEnd: "10.1.0.19"}, "10.1.0.10-10.1.0.19 10.1.0.1", 10},
		{rangeSection{Subnet: "10.1.0.0/24", RangeStart: "10.1.0.0", RangeEnd: "10.1.0.255"}, "10.1.0.0-10.1.0.255 10.1.0.1", 255},
	}
	for _, tt := range tests {
		t.Run(tt.section.Subnet, func(t *testing.T) {
			r := parseRange(t, tt.section)
			if got := r.String() + " " + r.Gateway.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := (RangeSet{r}).size([]netip.Addr{r.Gateway}); got != tt.size {
				t.Errorf("size %d, want %d", got, tt.size)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	small := func(start, end, gateway string) Range {
		return parseRange(t, rangeSection{Subnet: "10.1.0.0/24", RangeStart: start, RangeEnd: end, Gateway: gateway})
	}
	tests := []struct {
		name string
		set  RangeSet
		last string
		want []string
	}{
		{"from the start", RangeSet{small("10.1.0.1", "10.1.0.4", "")}, "", []string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}},
		{"behind the last", RangeSet{small("10.1.0.1", "10.1.0.4", "")}, "10.1.0.3", []string{"10.1.0.4", "10.1.0.2", "10.1.0.3"}},
		{"behind the end", RangeSet{small("10.1.0.1", "10.1.0.4", "")}, "10.1.0.4", []string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}},
		{"last of another range", RangeSet{small("10.1.0.5", "10.1.0.6", "")}, "10.9.0.9", []string{"10.1.0.5", "10.1.0.6"}},
		{"two ranges", RangeSet{small("10.1.0.1", "10.1.0.2", "10.1.0.2"), small("10.1.0.8", "10.1.0.9", "10.1.0.9")}, "10.1.0.1", []string{"10.1.0.8", "10.1.0.1"}},
		{"the gateway of another range", RangeSet{small("10.1.0.1", "10.1.0.3", ""), small("10.1.0.8", "10.1.0.9", "10.1.0.3")}, "", []string{"10.1.0.2", "10.1.0.8", "10.1.0.9"}},
		{"one address", RangeSet{small("10.1.0.5", "10.1.0.5", "")}, "10.1.0.5", []string{"10.1.0.5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			last, _ := parseAddr("", tt.last) // "" is no address
			var got []string
			for a := range tt.set.after(last, Config{Ranges: []RangeSet{tt.set}}.gateways()) {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The last address of the address space has no next one.
func TestAfterEndsWithTheAddressSpace(t *testing.T) {
	set := RangeSet{parseRange(t, rangeSection{Subnet: "255.255.255.0/24", RangeStart: "255.255.255.254", RangeEnd: "255.255.255.255"})}
	if got := len(slices.Collect(set.after(addr("255.255.255.255"), nil))); got != 2 {
		t.Errorf("%d addresses, want 2", got)
	}
}

func TestAssign(t *testing.T) {
	sets := `"ranges": [[{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.99"}], [{"subnet": "fd00::/64"}]]`
	tests := []struct {
		name      string
		requested []string
		want      string // of the error
	}{
		{"one of each", []string{"fd00::5", "10.1.0.5"}, ""},
		{"outside", []string{"10.1.0.100"}, "the requested address 10.1.0.100 lies outside every range (10.1.0.1-10.1.0.99; fd00::1-fd00::ffff:ffff:ffff:ffff): request one of a range, or widen a range"},
		{"gateway", []string{"10.1.0.1"}, "the requested address 10.1.0.1 is the gateway of its subnet: request another one"},
		{"two of a set", []string{"10.1.0.5", "10.1.0.6"}, "the requested addresses 10.1.0.5 and 10.1.0.6 belong to the same range set (10.1.0.1-10.1.0.99): request one of each set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig(t, t.TempDir(), sets)
			for _, a := range tt.requested {
				c.Requested = append(c.Requested, addr(a))
			}
			_, err := c.assign()
			if tt.want == "" && err == nil {
				return
			}
			if !errors.Is(err, ErrConfig) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
		})
	}
}
