package survey_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/survey"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestSurveyHost(t *testing.T) {
	testnet.NewHost(t)
	survey := func() survey.Survey {
		t.Helper()
		s, err := survey.SurveyHost(statetest.Open(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := survey(); len(got.Addresses) > 0 {
		t.Errorf("a host alone has addresses %v", got.Addresses)
	}
	testnet.Sh(t, "ip", "link", "add", "uplink", "type", "veth", "peer", "name", "other")
	testnet.Sh(t, "ip", "link", "set", "other", "up")
	testnet.Sh(t, "ip", "link", "set", "uplink", "up")
	for _, a := range []string{"10.0.0.2/24", "192.0.2.2/24", "fd00::2/64", "fd00::3/128"} {
		args := []string{"addr", "add", a, "dev", "uplink"}
		if netip.MustParsePrefix(a).Addr().Is6() {
			args = append(args, "nodad")
		}
		testnet.Sh(t, "ip", args...)
	}
	testnet.Sh(t, "ip", "addr", "add", "10.1.0.2/24", "dev", "other", "scope", "link")
	testnet.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1", "src", "192.0.2.2")
	testnet.Sh(t, "ip", "route", "add", "default", "dev", "uplink", "via", "fe80::1", "src", "fd00::2")

	got := survey()
	var found []string
	for _, a := range got.Addresses {
		found = append(found, got.Links[a.Link].Name+" "+a.Prefix.String()+" "+a.Gateway.String())
	}
	want := []string{
		"uplink 192.0.2.2/24 192.0.2.1", "uplink fd00::2/64 fe80::1",
		"uplink 10.0.0.2/24 invalid IP", "uplink fd00::3/128 invalid IP",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}
