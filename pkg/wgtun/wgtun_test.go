package wgtun

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestText: what is written is read again.
func TestText(t *testing.T) {
	key, port, off := wgtypes.Key{8, 1}, 51840, time.Duration(0)
	text := format(wgtypes.Config{PrivateKey: &key, ListenPort: &port, Peers: []wgtypes.PeerConfig{
		{PublicKey: wgtypes.Key{2}, Remove: true},
		{PublicKey: wgtypes.Key{3}, PresharedKey: &wgtypes.Key{}, PersistentKeepaliveInterval: &off, ReplaceAllowedIPs: true,
			Endpoint:   net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:51840")),
			AllowedIPs: []net.IPNet{{IP: net.IP{10, 43, 2, 0}, Mask: net.CIDRMask(24, 32)}}},
	}})
	zero, three := "0000000000000000000000000000000000000000000000000000000000000000", "0300000000000000000000000000000000000000000000000000000000000000"
	want := "private_key=0801" + zero[4:] + "\nlisten_port=51840\npublic_key=02" + zero[2:] + "\nremove=true\npublic_key=" + three +
		"\npreshared_key=" + zero + "\nendpoint=[2001:db8::1]:51840\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.43.2.0/24\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	d, err := parse("fwwg43", "private_key=0801"+zero[4:]+"\nlisten_port=51840\npublic_key="+three+"\npreshared_key="+zero+
		"\nendpoint=192.0.2.12:51840\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=7\ntx_bytes=1\nrx_bytes=2\npersistent_keepalive_interval=25\nallowed_ip=10.43.2.0/24\nallowed_ip=fd43::/64\n")
	if err != nil {
		t.Fatal(err)
	}
	p := d.Peers[0]
	if d.PrivateKey != key || d.ListenPort != 51840 || p.PublicKey != (wgtypes.Key{3}) || p.Endpoint.String() != "192.0.2.12:51840" ||
		!p.LastHandshakeTime.Equal(time.Unix(5, 7)) || p.TransmitBytes != 1 || p.ReceiveBytes != 2 || p.PersistentKeepaliveInterval != 25*time.Second || len(p.AllowedIPs) != 2 {
		t.Errorf("read: %+v", d)
	}
	for _, wrong := range []string{"private_key=08", "listen_port=x", "public_key=" + three + "\nallowed_ip=x", "public_key=" + three + "\nendpoint=x"} {
		if _, err := parse("fwwg43", wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}
