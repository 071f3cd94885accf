package etcdregistry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// compactJSON is json.Marshal, but as short and as readable as etcdctl can show it.
func compactJSON(v any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// checkSize refuses what is too large to be looked at.
func checkSize(size int) error {
	if size > MaxValueSize {
		return fmt.Errorf("the value has %d bytes, want at most %d", size, MaxValueSize)
	}
	return nil
}

// badJSON does not wrap err: its text can be as long as the value.
func badJSON(what string, raw []byte, err error) error {
	reason := strings.TrimPrefix(err.Error(), "json: ")
	if len(reason) > maxShown {
		reason = cut(reason)
	}
	return fmt.Errorf("%s %s is bad JSON: %s", what, cut(string(raw)), reason)
}

const (
	maxShown    = 80  // bytes of a foreign text in a message
	maxShownKey = 200 // keys may be longer: people search for them
)

// cut quotes s for a message, on one line and not longer than maxShown.
func cut(s string) string { return cutTo(s, maxShown) }

func cutTo(s string, limit int) string {
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:limit], "")) + "..."
}
