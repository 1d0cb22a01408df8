package hookhub

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// vectors is a file of ../vectors, which every SDK must pass.
type vectors struct {
	Format Format `json:"format"`
	Cases  []struct {
		Name        string      `json:"name"`
		Secrets     []string    `json:"secrets"`
		Now         int64       `json:"now"`
		Tolerance   *int        `json:"tolerance"`
		MaxEventAge int         `json:"max_event_age"`
		Headers     [][2]string `json:"headers"`
		Body        []byte      `json:"body"`
		Error       string      `json:"error"`
		Event       *struct {
			Type      string          `json:"type"`
			ID        *string         `json:"id"`
			Timestamp *time.Time      `json:"timestamp"`
			Data      json.RawMessage `json:"data"`
		} `json:"event"`
	} `json:"cases"`
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../vectors/*.json")
	if err != nil || len(files) != len(verifiers) {
		t.Fatalf("there are %d files of vectors for %d formats", len(files), len(verifiers))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var found vectors
		if err := json.Unmarshal(content, &found); err != nil {
			t.Fatal(err)
		}
		for _, each := range found.Cases {
			t.Run(string(found.Format)+": "+each.Name, func(t *testing.T) {
				options := VerifyOptions{Secrets: each.Secrets, Format: found.Format, Now: time.Unix(each.Now, 0)}
				options.MaxEventAge = time.Duration(each.MaxEventAge) * time.Second
				if each.Tolerance != nil {
					options.Tolerance = time.Duration(*each.Tolerance) * time.Second
					if *each.Tolerance == 0 {
						options.Tolerance = -1
					}
				}
				// As they came, and not in the spelling of net/http.
				header := http.Header{}
				for _, pair := range each.Headers {
					header[pair[0]] = append(header[pair[0]], pair[1])
				}
				received, err := Verify(each.Body, header, options)
				if each.Event == nil {
					var failed *VerificationError
					if !errors.As(err, &failed) || failed.Code != each.Error || received != nil {
						t.Fatalf("got %v, %v; want the code %s", received, err, each.Error)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if received.Type != each.Event.Type || received.ID != deref(each.Event.ID) {
					t.Errorf("got %q, %q", received.Type, received.ID)
				}
				if got := received.Timestamp.Truncate(time.Millisecond); !got.Equal(deref(each.Event.Timestamp)) {
					t.Errorf("got %v, want %v", got, each.Event.Timestamp)
				}
				if got, want := normal(t, received.Data), normal(t, each.Event.Data); !bytes.Equal(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		}
	}
}

func TestMistakesOfTheCallerAreNoVerificationErrors(t *testing.T) {
	for name, options := range map[string]VerifyOptions{
		"no secret":          {},
		"an empty secret":    {Secrets: []string{"", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		"an unknown format":  {Secrets: []string{"x"}, Format: "slack"},
		"a secret of others": {Secrets: []string{"plain text"}, Format: "cloudevents-binary"},
	} {
		var failed *VerificationError
		if _, err := Verify([]byte("{}"), http.Header{}, options); err == nil || errors.As(err, &failed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzVerifyNeverPanics(f *testing.F) {
	f.Add([]byte("payload=%7"), "sha256=00", "x-hub-signature-256")
	f.Add([]byte("{}"), "t=1,sha256=00", "x-pierre-signature")
	f.Fuzz(func(t *testing.T, body []byte, value, name string) {
		for format := range verifiers {
			options := VerifyOptions{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Format: format}
			if received, err := Verify(body, http.Header{name: {value}}, options); err == nil {
				t.Fatalf("accepted %v", received)
			}
		}
	})
}

func normal(t *testing.T, data json.RawMessage) []byte {
	var parsed any
	if err := json.Unmarshal(data, &parsed); err != nil {
		t.Fatal(err)
	}
	written, _ := json.Marshal(parsed)
	return written
}

func deref[T any](value *T) (found T) {
	if value != nil {
		found = *value
	}
	return found
}
