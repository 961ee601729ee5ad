package plugins

import (
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestPtp: two containers and the host reach each other through the host, in both families; DEL needs nothing.
func TestPtp(t *testing.T) {
	first, second := testnet.NewNS(t, "c"), testnet.NewNS(t, "d")
	a := bridgeOn(t, first)
	a.plugin, a.conf = "ptp", map[string]any{
		"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipMasq": true, "capabilities": map[string]bool{"portMappings": true},
		"ipam": hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"),
	}
	a = a.withIPAM("routes", []map[string]string{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}})
	outside := outsideOf(t, a.host)
	b := a.on(second, "eth0")
	result := a.with("runtimeConfig", map[string]any{"portMappings": []any{mapping(8080, 80)}}).add(t)
	a = a.with("runtimeConfig", map[string]any{"portMappings": []any{mapping(8080, 80)}}).after(result)
	b = b.after(b.add(t))
	wantText(t, "address in the result", "10.1.0.2/24", result.IPs[0].Address.String())
	a.succeed(t, "CHECK")
	b.succeed(t, "CHECK")
	listen(t, first, ":80")
	for _, by := range []struct {
		from *testnet.Namespace
		to   string
	}{{a.host, "10.1.0.2:80"}, {second, "10.1.0.2:80"}, {outside, "192.0.2.1:8080"}, {first, "192.0.2.1:8080"}, {a.host, "127.0.0.1:8080"}} {
		wantText(t, "who answers "+by.from.Path+" at "+by.to, "c", whoAnswers(by.from, by.to, 20*time.Second))
	}
	second.Sh(t, "busybox", "ping", "-6", "-c", "1", "-W", "20", "fd01::2")
	b.succeed(t, "DEL")
	a.with("prevResult", nil).with("runtimeConfig", nil).withEnv("CNI_NETNS", "").succeed(t, "DEL")
	a.succeed(t, "DEL")
	if left := append(a.elements(t), a.reservations(t)...); len(left) > 0 {
		t.Errorf("left after DEL: %v", left)
	}
	a.with("ipam", nil).with("prevResult", nil).fail(t, "ADD", 7)
}

// TestPtpAfterGC: GC takes what a lost DEL has left.
func TestPtpAfterGC(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.plugin, a.conf = "ptp", map[string]any{
		"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipMasq": true, "ipam": hostLocal(t.TempDir(), "10.1.0.0/24"),
	}
	a.add(t)
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	if left := append(a.elements(t), a.reservations(t)...); len(left) > 0 {
		t.Errorf("left after GC: %v", left)
	}
	if got := links(t, a.host); len(got) != 1 {
		t.Errorf("links after GC: %v", got)
	}
}
