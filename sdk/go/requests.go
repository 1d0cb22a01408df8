package hookhub

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
)

// one sends a request and returns the object in the response.
func one[T any](ctx context.Context, c *Client, asked call) (*T, error) {
	found, err := c.do(ctx, asked)
	if err != nil {
		return nil, err
	}
	return decode[T](found)
}

// decode returns the object in a successful response.
func decode[T any](found *answer) (*T, error) {
	result := new(T)
	if !bytes.HasPrefix(bytes.TrimSpace(found.body), []byte("{")) || json.Unmarshal(found.body, result) != nil {
		return nil, notHookHub(found.Response, found.body)
	}
	return result, nil
}

// isList reports whether all rows of a list are objects.
func isList[T any](rows []*T) bool { return rows != nil && !slices.Contains(rows, nil) }

// all sends a request and returns the objects that the response lists under a name.
func all[T any](ctx context.Context, c *Client, name string, query url.Values, parts ...string) ([]T, error) {
	found, err := c.do(ctx, call{method: http.MethodGet, path: path(parts...), query: query})
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	var rows []*T
	if json.Unmarshal(found.body, &fields) != nil || json.Unmarshal(fields[name], &rows) != nil || !isList(rows) {
		return nil, notHookHub(found.Response, found.body)
	}
	values := make([]T, 0, len(rows))
	for _, row := range rows {
		values = append(values, *row)
	}
	return values, nil
}

func get[T any](ctx context.Context, c *Client, query url.Values, parts ...string) (*T, error) {
	return one[T](ctx, c, call{method: http.MethodGet, path: path(parts...), query: query})
}

// post sends a request that must not be repeated if it may have taken effect.
func post[T any](ctx context.Context, c *Client, body any, parts ...string) (*T, error) {
	return one[T](ctx, c, call{method: http.MethodPost, path: path(parts...), body: body})
}

// postAgain sends a request that may be repeated.
func postAgain[T any](ctx context.Context, c *Client, body any, parts ...string) (*T, error) {
	return one[T](ctx, c, call{method: http.MethodPost, path: path(parts...), body: body, repeatable: true})
}

func patch[T any](ctx context.Context, c *Client, body any, parts ...string) (*T, error) {
	return one[T](ctx, c, call{method: http.MethodPatch, path: path(parts...), body: body})
}

// remove deletes something. After an attempt that may have done so, not finding it is success.
func remove(ctx context.Context, c *Client, parts ...string) error {
	asked := call{method: http.MethodDelete, path: path(parts...), doneStatus: http.StatusNotFound}
	_, err := c.do(ctx, asked)
	return err
}

// pages yields the results of a paginated list, and fetches pages as they are needed. It ends after an error.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for query := query; ; {
			found, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query})
			if err != nil {
				yield(nil, err)
				return
			}
			var page struct {
				Results []*T   `json:"results"`
				Next    string `json:"next"`
			}
			if json.Unmarshal(found.body, &page) != nil || !isList(page.Results) {
				yield(nil, notHookHub(found.Response, found.body))
				return
			}
			for _, row := range page.Results {
				if !yield(row, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			// Take only the query from the link: behind a proxy the server may not know its public address, and the key
			// must not be sent to any other host. A link back to the same page would loop forever.
			next, err := url.Parse(page.Next)
			if err != nil || next.Query().Encode() == query.Encode() {
				yield(nil, notHookHub(found.Response, found.body))
				return
			}
			query = next.Query()
		}
	}
}
