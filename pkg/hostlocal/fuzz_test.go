package hostlocal

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// known reports whether an error of Parse is of a kind that becomes a CNI code.
func known(err error) bool {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	return errors.Is(err, ErrConfig) || errors.As(err, &syntax) || errors.As(err, &wrongType)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name": "n", "ipam": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.5", "routes": [{"dst": "0.0.0.0/0", "scope": 1}]}}`), "IP=10.1.0.7;A=b")
	f.Add([]byte(`{"name": "n", "cniVersion": "1.1.0", "ipam": {"ranges": [[{"subnet": "10.1.0.0/31"}, {"subnet": "10.2.0.0/32"}], [{"subnet": "fd00::/127", "rangeStart": "fd00::"}]]}}`), "")
	f.Add([]byte(`{"name": "n", "ipam": {}, "runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.9"}]], "ips": ["10.1.0.2/24"]}, "args": {"cni": {"ips": ["10.1.0.3"]}}}`), "IP=;")
	f.Add([]byte(`{"ipam": {"subnet": 1}}`), "IP")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		c, err := Parse(stdin, args)
		if err != nil {
			if !known(err) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		checkConfig(t, c)
	})
}

// checkConfig: what Parse accepts, the allocator can work with.
func checkConfig(t *testing.T, c Config) {
	t.Helper()
	if checkNetwork(c.Network) != nil || c.DataDir == "" || len(c.Ranges) == 0 {
		t.Errorf("incomplete: %+v", c)
	}
	for _, set := range c.Ranges {
		if len(set) == 0 || set.size(c.gateways()) == 0 {
			t.Errorf("nothing to hand out: %v", set)
		}
		for a := range set.after(set[0].End, c.gateways()) {
			if _, ok := set.find(a); !ok {
				t.Errorf("%v hands out %v", set, a)
			}
			break
		}
		for _, r := range set {
			if !r.Subnet.Contains(r.Start) || !r.Subnet.Contains(r.End) || r.End.Less(r.Start) {
				t.Errorf("inconsistent: %+v", r)
			}
		}
	}
	if _, err := c.assign(); err != nil && !errors.Is(err, ErrConfig) {
		t.Errorf("assign: %v", err)
	}
}

// What Parse takes lies where Locate finds it.
func FuzzLocate(f *testing.F) {
	f.Add([]byte(`{"name": "n", "ipam": {"subnet": "10.1.0.0/24", "dataDir": "/d"}}`))
	f.Add([]byte(`{"name": "n", "ipam": null}`))
	f.Add([]byte(`{"name": "../n", "ipam": {"ranges": 1}}`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		located, err := Locate(stdin)
		if err == nil && checkNetwork(located.Network) != nil {
			t.Errorf("network %q", located.Network)
		}
		c, parseErr := Parse(stdin, "")
		if parseErr == nil && (err != nil || located.Network != c.Network || located.DataDir != c.DataDir) {
			t.Errorf("%+v, error %v, want %+v", located, err, c)
		}
	})
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch a b\n# comment\noptions ndots:5\ndomain x")
	f.Add("nameserver\n;\n\x00\r\n search\t")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseResolvConf(text)
		for _, s := range append(append(d.Nameservers, d.Search...), d.Options...) {
			if s == "" {
				t.Errorf("%q gives an empty entry: %+v", text, d)
			}
		}
	})
}

func FuzzParseOwner(f *testing.F) {
	f.Add([]byte("c1\r\neth0"))
	f.Add([]byte("c1\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		o := parseOwner(content)
		if o.check() == nil && parseOwner([]byte(o.content())) != o {
			t.Errorf("%q gives %+v, which does not survive writing", content, o)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(header{slots: 256, used: 3, stamp: unix.Timespec{Sec: 1, Nsec: 2}}.bytes())
	f.Add(make([]byte, headerSize))
	f.Add([]byte(headerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if diff := cmp.Diff(h.bytes()[:40], b[:40]); diff != "" {
			t.Errorf("%+v (-written +read):\n%s", h, diff)
		}
	})
}

// An index of any bytes gives an answer or an error; it never loops or grows.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(image(header{slots: 4}, []slot{{hash: 1, addr: addr("10.0.0.1")}, {hash: 5, addr: addr("fd00::1")}})), uint64(5))
	f.Fuzz(func(t *testing.T, b []byte, hash uint64) {
		x := &index{header: header{slots: 4}, at: memory(b)}
		if addrs, err := x.find(hash); err == nil && len(addrs) >= 4 {
			t.Errorf("found %v", addrs)
		}
		x.remove(slot{hash: hash, addr: addr("10.0.0.1")})
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add(`1 "machine" "boot" "1:2" /run/netns/x y`)
	f.Fuzz(func(t *testing.T, text string) {
		r := parseRecord(text)
		if again := parseRecord(string(r.text())); again != r {
			t.Errorf("%q gives %+v, then %+v", text, r, again)
		}
	})
}
