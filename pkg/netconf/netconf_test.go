package netconf

import (
	"encoding/json"
	"errors"
	"testing"
)

type conf struct {
	Inner
	Count int      `json:"count"`
	Name  string   `json:"name"`
	On    bool     `json:"on"`
	List  []string `json:"list"`
	IPAM  struct {
		Ranges [][]struct {
			Subnet string `json:"subnet"`
		} `json:"ranges"`
	} `json:"ipam"`
}

// Inner is embedded, and no key.
type Inner struct {
	Size uint `json:"size"`
}

func TestDecode(t *testing.T) {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	for _, tt := range []struct {
		stdin, want string
		as          any
	}{
		{``, "network configuration is not JSON at byte 0: unexpected end of JSON input", &syntax},
		{`{"name": `, "network configuration is not JSON at byte 9: unexpected end of JSON input", &syntax},
		{`[]`, "network configuration is a JSON array: give an object", &wrong},
		{`{"name": 5}`, "key name is a JSON number: give a string", &wrong},
		{`{"on": "yes"}`, "key on is a JSON string: give true or false", &wrong},
		{`{"size": "5"}`, "key size is a JSON string: give a whole number", &wrong},
		{`{"count": 1.5}`, "key count is a JSON number 1.5: give a whole number", &wrong},
		{`{"list": {}}`, "key list is a JSON object: give a list", &wrong},
		{`{"ipam": "x"}`, "key ipam is a JSON string: give an object", &wrong},
		{`{"ipam": {"ranges": [[{"subnet": []}]]}}`, "key ipam.ranges.subnet is a JSON array: give a string", &wrong},
	} {
		err := Decode([]byte(tt.stdin), &conf{})
		if err == nil || err.Error() != tt.want || !errors.As(err, tt.as) {
			t.Errorf("%s\ngot  %v\nwant %s", tt.stdin, err, tt.want)
		}
	}
	if err := Decode([]byte(`{"name": "n", "count": 3}`), &conf{}); err != nil {
		t.Error(err)
	}
}
