package sandbox

import (
	"net/netip"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

func TestHosts(t *testing.T) {
	e := Etc{
		Hostname: "www", Names: []string{"web", "www"},
		Hosts: []Host{{netip.MustParseAddr("192.0.2.9"), "db"}},
	}
	attached := []attachment.Attachment{
		{Addresses: []netip.Prefix{netip.MustParsePrefix("10.5.0.2/24"), netip.MustParsePrefix("fd05::2/64")}},
		{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
	}
	want := loopbackHosts + "192.0.2.9\tdb\n10.5.0.2\twww web\nfd05::2\twww web\n"
	if diff := cmp.Diff(want, e.Files(attached)["/etc/hosts"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestResolv(t *testing.T) {
	const host = "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver 192.0.2.1\nsearch example.org\noptions edns0 trust-ad\n"
	network := attachment.Attachment{DNS: types.DNS{
		Nameservers: []string{"10.5.0.53"}, Domain: "lamp", Search: []string{"lamp", "example.net"}, Options: []string{"ndots:2"},
	}}
	for _, test := range []struct {
		name     string
		etc      Etc
		attached []attachment.Attachment
		want     string
	}{
		{"the host's, without loopback", Etc{Resolv: host}, nil, "nameserver 192.0.2.1\nsearch example.org\noptions edns0 trust-ad\n"},
		{"none", Etc{}, nil, ""},
		{"the network's", Etc{Resolv: host}, []attachment.Attachment{{}, network},
			"nameserver 10.5.0.53\nsearch lamp example.net\noptions ndots:2\n"},
		{"asked for", Etc{
			Resolv: host, Servers: []netip.Addr{netip.MustParseAddr("9.9.9.9")}, Search: []string{"a.example"}, Options: []string{"use-vc"},
		}, []attachment.Attachment{network}, "nameserver 9.9.9.9\nsearch a.example\noptions use-vc\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.etc.Files(test.attached)["/etc/resolv.conf"]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
