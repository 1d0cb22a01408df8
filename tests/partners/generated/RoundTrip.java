// Create a webhook, list webhooks and publish an event with what openapi-generator generated.
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.EventsApi;
import org.openapitools.client.api.WebhooksApi;
import org.openapitools.client.model.NewEventRequest;
import org.openapitools.client.model.PublishedRequest;
import org.openapitools.client.model.WebhookRequest;

public class RoundTrip {
    public static void main(String[] args) throws Exception {
        ApiClient client = new ApiClient();
        client.setBasePath(args[0]);
        client.addDefaultHeader("Authorization", "Bearer " + args[1]);
        WebhooksApi webhooks = new WebhooksApi(client);

        var made = webhooks.webhooksCreate(new WebhookRequest().url(args[2]).events(List.of("*")), null);
        var page = webhooks.webhooksList(null, null, null, null, null);
        var event = new NewEventRequest().type("push").data(Map.of("n", 1)).repository("Hello-World");
        var receipt = new EventsApi(client).eventsCreate(new PublishedRequest(event), null).getReceipt();

        String listed = page.getResults().stream().map(one -> "\"" + one.getId() + "\"").collect(Collectors.joining(","));
        System.out.printf(
            "{\"created\": \"%s\", \"listed\": [%s], \"event\": \"%s\"}%n", made.getId(), listed, receipt.getId());
        System.exit(0);
    }
}
