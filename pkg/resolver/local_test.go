package resolver

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

func TestReverseAddr(t *testing.T) {
	for _, want := range []string{"10.1.0.2", "fd01::2", "2001:db8:1:2:3:4:5:6", "0.0.0.1", "::1"} {
		addr := netip.MustParseAddr(want)
		name, err := dns.ReverseAddr(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := reverseAddr(strings.ToUpper(name)); !ok || got != addr {
			t.Errorf("%s: %v, %t; want %s", name, got, ok, want)
		}
	}
	for _, name := range []string{"", ".", "in-addr.arpa.", "1.2.3.in-addr.arpa.", "1.2.3.4.5.in-addr.arpa.", "1.2.3.x.in-addr.arpa.",
		"ip6.arpa.", strings.Repeat("0.", 31) + "ip6.arpa.", strings.Repeat("00", 31) + "0.ip6.arpa.", strings.Repeat("g.", 32) + "ip6.arpa."} {
		if got, ok := reverseAddr(name); ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// FuzzNames looks for a name of a record that does not come back as it went.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"a", "a.b", "My Name", `back\slash`, `"quoted"`, "ä.ö", "*", "a;b", `a\.b`} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if names.CheckName(name) != nil {
			return
		}
		text := escape(name) + "."
		wire, err := query(text, dns.TypeA).Pack()
		if err != nil {
			t.Fatalf("%q as %q: %v", name, text, err)
		}
		q, _ := screen(wire)
		if q == nil {
			t.Fatalf("%q as %q is no query", name, text)
		}
		got, ok := plain(q.Question[0].Name)
		if !ok || got != name {
			t.Errorf("%q came back as %q, %t", name, got, ok)
		}
	})
}

// FuzzQueries looks for a query that upsets the handlers, or whose answer cannot be sent.
func FuzzQueries(f *testing.F) {
	for _, name := range []string{"c", "c.lamp", `c\.lamp`, "2.0.1.10.in-addr.arpa", `\255\000`} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypePTR, dns.TypeANY, 65280} {
			wire, err := query(name, qtype).SetEdns0(1232, true).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire)
		}
	}
	index := names.NewIndex()
	r := record("lamp", "c", "/proc/self/ns/net")
	addrs("10.1.0.2", "fd01::2")(&r)
	r.Internal = true
	index.Set("c", r)
	chain := newLimit(local{index, nil, internal{index, nil}})
	f.Fuzz(func(t *testing.T, wire []byte) {
		q, answer := screen(wire)
		if q != nil {
			answer = chain.Answer(t.Context(), Query{q, r.Netns.Space()})
		}
		if answer == nil {
			return
		}
		answer.Truncate(dns.MinMsgSize)
		if _, err := answer.Pack(); err != nil {
			t.Errorf("answer to %x: %v", wire, err)
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\nnameserver x y\n")
	f.Fuzz(func(t *testing.T, text string) {
		if list := parseServers(text); len(list) > mostUpstreams {
			t.Errorf("%d servers", len(list))
		}
	})
}
