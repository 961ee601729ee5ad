package pools

import (
	"errors"
	"net/netip"
	"testing"
)

func taken(prefixes ...string) (all []Taken) {
	for _, p := range prefixes {
		all = append(all, Taken{Prefix: netip.MustParsePrefix(p), By: "test"})
	}
	return all
}

func TestNext4(t *testing.T) {
	for name, test := range map[string]struct {
		taken []Taken
		want  string
	}{
		"nothing taken":       {nil, "172.17.0.0/16"},
		"docker0":             {taken("172.17.0.0/16"), "172.18.0.0/16"},
		"an address of it":    {taken("172.17.0.0/16", "172.18.4.4/32"), "172.19.0.0/16"},
		"a wider route":       {taken("172.16.0.0/12"), "192.168.0.0/20"},
		"the office's subnet": {taken("172.16.0.0/12", "192.168.1.0/24"), "192.168.16.0/20"},
		"the last one":        {taken("172.16.0.0/12", "192.168.0.0/17", "192.168.128.0/18", "192.168.192.0/19", "192.168.224.0/20"), "192.168.240.0/20"},
		"of the other family": {taken("fd00::/8"), "172.17.0.0/16"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Next4(test.taken)
			if err != nil || got.String() != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
	if _, err := Next4(taken("172.16.0.0/12", "192.168.0.0/16")); !errors.Is(err, ErrExhausted) {
		t.Errorf("all taken: got %v, want %v", err, ErrExhausted)
	}
}

func TestNext6(t *testing.T) {
	first, err := Next6("host a", nil)
	if err != nil || first.Bits() != 64 || !netip.MustParsePrefix("fd00::/8").Contains(first.Addr()) {
		t.Fatalf("got %s, %v, want a /64 of fd00::/8", first, err)
	}
	if again, _ := Next6("host a", nil); again != first {
		t.Errorf("again: got %s, want %s", again, first)
	}
	second, err := Next6("host a", []Taken{{Prefix: first}})
	global := netip.PrefixFrom(first.Addr(), 48)
	if err != nil || second == first || !global.Contains(second.Addr()) {
		t.Errorf("second: got %s, %v, want another /64 of %s", second, err, global)
	}
	if other, _ := Next6("host b", nil); global.Contains(other.Addr()) {
		t.Errorf("another host: got %s, which is of %s too", other, global)
	}
	if _, err := Next6("host a", []Taken{{Prefix: global}}); !errors.Is(err, ErrExhausted) {
		t.Errorf("all taken: got %v, want %v", err, ErrExhausted)
	}
}
