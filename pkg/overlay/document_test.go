package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// snapshot is a document with something in each field.
func snapshot() Document {
	return Document{
		Network: &Network{Name: "shop", VNI: 4096, Subnets: prefixes("10.42.0.0/16", "fd42::/48"), Port: DefaultPort, IPMasq: true},
		Hosts: Hosts{
			Self: netip.MustParseAddr("192.0.2.11"),
			Peers: []Peer{
				{Node: "one", VTEP: netip.MustParseAddr("192.0.2.11"), Blocks: prefixes("10.42.1.0/24", "fd42:0:0:1::/64")},
				{VTEP: netip.MustParseAddr("192.0.2.12")},
			},
			Pins: []Pin{{Address: netip.MustParseAddr("10.42.9.9"), VTEP: netip.MustParseAddr("192.0.2.12")}},
		},
		Revision: 7, Partial: true,
	}
}

func TestDocument(t *testing.T) {
	const want = `{"network":{"name":"shop","vni":4096,"subnets":["10.42.0.0/16","fd42::/48"],"ipMasq":true},` +
		`"self":"192.0.2.11","peers":[{"node":"one","vtep":"192.0.2.11","subnets":["10.42.1.0/24","fd42:0:0:1::/64"]},` +
		`{"vtep":"192.0.2.12","subnets":[]}],"pins":[{"address":"10.42.9.9","vtep":"192.0.2.12"}],"revision":7,"partial":true}` + "\n"
	data := snapshot().Encode()
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(snapshot(), got, equalNetip); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

// TestDecodeByHand reads what a person writes: peers, and nothing else.
func TestDecodeByHand(t *testing.T) {
	got, err := Decode([]byte(`{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24"]}], "comment": "mine"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Document{Hosts: Hosts{Peers: []Peer{{VTEP: netip.MustParseAddr("192.0.2.11"), Blocks: prefixes("10.42.1.0/24")}}}}
	if diff := cmp.Diff(want, got, equalNetip); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

// TestDecodeCutShort refuses a document of which any end is missing.
func TestDecodeCutShort(t *testing.T) {
	data := snapshot().Encode()
	for length := range len(data) - 1 { // the last byte is a newline
		_, err := Decode(data[:length])
		var syntax *json.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("of %d bytes the first %d: %v", len(data), length, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{``, `not JSON at byte 0, perhaps cut short: unexpected end of JSON input`},
		{`[]`, `a JSON array instead of an object`},
		{`{"peers": {}}`, `key peers is a JSON object`},
		{`{"peers": [{"vtep": 1}]}`, `key peers.vtep is a JSON number`},
		{`{"peers": null}`, `key peers is missing: write {"peers": [{"vtep": …, "subnets": […]}, …]}`},
		{`{"network": {"vni": 0}, "peers": []}`, `key network: key vni is 0: give the network an identifier from 1 to 16777215 that no other has`},
		{`{"network": {"vni": 1, "subnet": "10.42.0.0/16"}, "peers": [{"vtep": "192.0.2.11", "subnets": ["10.0.0.0/24"]}]}`,
			`peers[0].subnets[0] is 10.0.0.0/24, outside the network's 10.42.0.0/16: give a part of it`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			_, err := Decode([]byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// FuzzDecode: what is accepted is sound, and is read again as it was written.
func FuzzDecode(f *testing.F) {
	f.Add(snapshot().Encode())
	f.Add([]byte(`{"peers": [{"vtep": "::1", "subnets": ["::/0", "0.0.0.0/0"]}]}`))
	f.Add([]byte(`{"network": {"vni": 1, "subnets": ["::/0"]}, "peers": [{"vtep": "2001:db8::1", "subnets": ["::/1", "8000::/1"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Decode(data)
		if err != nil {
			var syntax *json.SyntaxError
			var wrong *json.UnmarshalTypeError
			if !errors.Is(err, ErrConfig) && !errors.As(err, &syntax) && !errors.As(err, &wrong) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		again, err := Decode(d.Encode())
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		if diff := cmp.Diff(d, again, equalNetip, emptyIsNil); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
		if d.Network != nil && d.Network.Check(d.Hosts) != nil {
			t.Errorf("unsound: %+v", d)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, peers := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			d := Document{Network: &Network{VNI: 1, Subnets: prefixes("10.0.0.0/8"), Port: DefaultPort}}
			for i := range peers {
				d.Peers = append(d.Peers, Peer{
					VTEP:   netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}),
					Blocks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)},
				})
			}
			data := d.Encode()
			for b.Loop() {
				if _, err := Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
