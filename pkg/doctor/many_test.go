package doctor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestOneOfMany: of many containers plugins are asked for a few, and one that has less in the kernel than the others is among them.
func TestOneOfMany(t *testing.T) {
	h := newMendable(t)
	for i := range 5 {
		h.attach(t, "blue", fmt.Sprint("web", i))
	}
	h.MostChecked = 1
	if findings := printed(t, h.run(t)); !strings.Contains(findings, "1 attachments were asked") {
		t.Errorf("not a sample:\n%s", findings)
	}
	testnet.Sh(t, "nft", "delete", "element", "inet", "fairway", "masquerade_from4", "{ blue0 . 10.4.0.5 }")
	if findings := printed(t, h.run(t)); !strings.Contains(findings, `masquerade_from4 has no element of "fairway blue web3 eth0"`) {
		t.Errorf("one of five has lost an element:\n%s", findings)
	}
}
