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
		{"a plugin's, of several lines", Etc{}, []attachment.Attachment{{DNS: types.DNS{
			Nameservers: []string{"10.5.0.53\nnameserver 6.6.6.6", "10.5.0.54"}, Search: []string{"a\nnameserver 6.6.6.6"}, Options: []string{"b\nnameserver 6.6.6.6"},
		}}}, "nameserver 10.5.0.54\nsearch a nameserver 6.6.6.6\noptions b nameserver 6.6.6.6\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.etc.Files(test.attached)["/etc/resolv.conf"]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHostFiles: on the host's network, the host's own files hold but for what is asked for; its servers on loopback are within reach.
func TestHostFiles(t *testing.T) {
	const resolv = "nameserver 127.0.0.53\nsearch example.org\n"
	none := Etc{Resolv: resolv}.HostFiles("127.0.0.1\tlocalhost")
	if diff := cmp.Diff(map[string]string{"/etc/hosts": "127.0.0.1\tlocalhost\n"}, none); diff != "" {
		t.Errorf("nothing asked for (-want +got):\n%s", diff)
	}
	asked := Etc{
		Resolv: resolv, Options: []string{"ndots:3"}, Hosts: []Host{{netip.MustParseAddr("192.0.2.9"), "db"}, {Name: "host.docker.internal"}},
	}.HostFiles("")
	want := map[string]string{
		"/etc/hosts": "192.0.2.9\tdb\n127.0.0.1\thost.docker.internal\n", "/etc/resolv.conf": "nameserver 127.0.0.53\nsearch example.org\noptions ndots:3\n",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
