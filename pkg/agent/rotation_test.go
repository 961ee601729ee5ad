package agent

import (
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestQuiet: a device may end when nothing has come from a peer for a while, nor could anything go to it. Each peer of each device counts by
// itself.
func TestQuiet(t *testing.T) {
	r := newRotation()
	start := time.Unix(1000, 0)
	for i, step := range []struct {
		after   time.Duration
		device  string
		bytes   int64
		follows bool
		want    bool
	}{
		{0, "fwwg43", 100, true, false}, // seen for the first time
		{quietFor - 1, "fwwg43", 100, true, false},
		{quietFor, "fwwg43", 100, true, true},
		{quietFor, "fwwgs43", 100, true, false},
		{quietFor + 1, "fwwg43", 132, true, false}, // a keepalive
		{2*quietFor + 1, "fwwg43", 132, true, true},
		{2*quietFor + 2, "fwwg43", 132, false, false}, // this host sends by it again
		{3*quietFor + 1, "fwwg43", 132, true, false},
		{3*quietFor + 2, "fwwg43", 132, true, true},
		{3*quietFor + 3, "fwwg43", 0, true, false}, // the device was made anew
	} {
		peer := wgtypes.Peer{PublicKey: wgtypes.Key{1}, ReceiveBytes: step.bytes}
		if got := r.quiet(step.device, peer, step.follows, start.Add(step.after)); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	if r.quiet("fwwg43", wgtypes.Peer{PublicKey: wgtypes.Key{2}}, true, start.Add(time.Hour)) {
		t.Error("a peer that was never looked at is quiet")
	}
}
