package overlay

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// standard is a document as encoding/json reads it.
func standard(data []byte) (t documentText, err error) {
	err = json.Unmarshal(data, &t)
	return t, err
}

func TestQuickPeers(t *testing.T) {
	for _, tt := range []struct {
		text  string
		quick bool
	}{
		{`{"peers":[{"node":"a","vtep":"192.0.2.11","subnets":["10.42.1.0/24","fd42::/64"]},{"vtep":"192.0.2.12","subnets":[]}],"revision":7}`, true},
		{"{ \"self\" : \"x\",\n\t\"peers\" :\r\n [ { \"subnets\" : [ \"a\" , \"b\" ] , \"vtep\" : \"c\" } ] , \"partial\" : true }", true},
		{`{"peers":[]}`, true},
		{`{"peers":[{"node":"a"}]}`, true},
		{`{"peers":[{}]}`, false},
		{`{"peers":null}`, false},
		{`{"peers":[{"vtep":"a","later":1}]}`, false},
		{`{"peers":[{"VTEP":"a"}]}`, false},
		{`{"peers":[{"vtep":"\u0061"}]}`, false},
		{`{"peers":[{"node":"ä"}]}`, false},
		{`{"peers":[{"vtep":1}]}`, false},
		{`{"peers":[{"vtep":"a"}`, false},
		{`{"peers":[{"vtep":"a"},]}`, false},
		{`{"peers":[{"vtep":"a"}],"peers":[]}`, false},
		{`{"other":{"peers":[{"vtep":"a"}]}}`, true}, // and then not where the peers are
		{`{"other":"\"peers\":[]"}`, false},
		{`{"self":"peers"}`, false},
		{`{"peers":[{"vtep":"a"}],"Peers":[{"vtep":"b"}]}`, true},
		{`{"peers":[{"vtep":"a"}]} x`, true},
		{``, false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			if _, _, quick := quickPeers([]byte(tt.text)); quick != tt.quick {
				t.Errorf("read by the scanner: %t, want %t", quick, tt.quick)
			}
			sameAsStandard(t, []byte(tt.text))
		})
	}
}

func sameAsStandard(t *testing.T, data []byte) {
	t.Helper()
	want, wantErr := standard(data)
	got, err := decodeText(data)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("got error %v, want %v", err, wantErr)
	}
	if diff := cmp.Diff(want, got, equalNetip); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzQuickPeers holds the scanner against encoding/json.
func FuzzQuickPeers(f *testing.F) {
	f.Add(string(snapshot().Encode()))
	f.Add(`{"peers":[{"vtep":"a","subnets":["b"]}],"Peers":[]}`)
	f.Add(`{"a":"}","b":{"peers":[{"node":"x"}]}}`)
	f.Fuzz(func(t *testing.T, text string) { sameAsStandard(t, []byte(text)) })
}
