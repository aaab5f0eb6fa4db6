//! What the demo's company sells: meters, prices and customers, created through the API.

use anyhow::Result;
use serde_json::json;

use super::Month;
use crate::builders::{self, Every, credited, filtered, meter, paid};
use crate::system::Api;

/// The company's customers.
pub(crate) const CUSTOMERS: [&str; 6] = ["acme", "globex", "hooli", "initech", "stark", "umbrella"];

/// What is sold, by the collector's ids.
#[derive(Debug)]
pub(crate) struct Shop {
    products: Vec<String>,
    /// Name, id and unit of each meter.
    pub(crate) meters: Vec<SoldMeter>,
}

/// A meter and what it counts.
#[derive(Debug)]
pub(crate) struct SoldMeter {
    /// Display name.
    pub(crate) name: &'static str,
    /// The collector's id.
    pub(crate) id: String,
    /// What it counts.
    pub(crate) unit: &'static str,
}

impl Shop {
    /// Creates meters, credits, products and customers.
    ///
    /// # Errors
    /// When the collector refuses one of them.
    pub(crate) async fn open(api: &Api) -> Result<Self> {
        let mut shop = Self {
            products: Vec::new(),
            meters: Vec::new(),
        };
        shop.pay_as_you_go(api).await?;
        shop.images(api).await?;
        shop.team(api).await?;
        shop.assistant(api).await?;
        for customer in CUSTOMERS {
            builders::create_customer(api, &builders::customer(customer, customer)).await?;
        }
        Ok(shop)
    }

    /// API calls at $0.001 after 10 000 free, data at $5 per GB after 10 GB free, SMS at $0.01.
    async fn pay_as_you_go(&mut self, api: &Api) -> Result<()> {
        let calls = self
            .meter(api, "API calls", "api.call", "count", "", "call")
            .await?;
        let data = self
            .meter(api, "Data", "data.sent", "sum", "gigabytes", "GB")
            .await?;
        let sms = self
            .meter(api, "SMS", "sms.sent", "count", "", "message")
            .await?;
        let prices = [
            paid(&calls, "0.1", 10_000),
            paid(&data, "500", 10),
            paid(&sms, "1", 0),
        ];
        self.sell(
            api,
            &builders::product("Pay as you go", Every::Month, 0, &prices),
        )
        .await
    }

    /// Images at $0.04 standard and $0.08 HD.
    async fn images(&mut self, api: &Api) -> Result<()> {
        let images = |name| meter(name, "image.made", "count", "", "image");
        let of = |name, quality: &str| filtered(images(name), "quality", "equals", json!(quality));
        let (standard, hd) = ("Images, standard", "Images, HD");
        let plain = builders::create_meter(api, &of(standard, "standard")).await?;
        let fine = builders::create_meter(api, &of(hd, "hd")).await?;
        let prices = [paid(&plain, "4", 0), paid(&fine, "8", 0)];
        self.meters.push(SoldMeter {
            name: standard,
            id: plain,
            unit: "image",
        });
        self.meters.push(SoldMeter {
            name: hd,
            id: fine,
            unit: "image",
        });
        self.sell(
            api,
            &builders::product("Image studio", Every::Month, 0, &prices),
        )
        .await
    }

    /// $49 a month, seats by their maximum, storage by its last value.
    async fn team(&mut self, api: &Api) -> Result<()> {
        let seats = self
            .meter(api, "Seats", "seats.counted", "max", "seats", "seat")
            .await?;
        let storage = self
            .meter(
                api,
                "Storage",
                "storage.measured",
                "last",
                "gigabytes",
                "GB",
            )
            .await?;
        let prices = [paid(&seats, "1200", 3), paid(&storage, "2.5", 100)];
        self.sell(
            api,
            &builders::product("Team", Every::Month, 4_900, &prices),
        )
        .await
    }

    /// 500 credits a month, one for 1 000 tokens; further ones at $0.02.
    async fn assistant(&mut self, api: &Api) -> Result<()> {
        let credits = builders::credits("Assistant credits", "credit", 3);
        let credits = builders::create_credits(api, &credits).await?;
        let tokens = self
            .meter(
                api,
                "Tokens",
                "assistant.answered",
                "sum",
                "tokens",
                "token",
            )
            .await?;
        let price = credited(&tokens, &credits, "1000", 0);
        let product = builders::product("Assistant", Every::Month, 1_000, &[price]);
        self.sell(api, &builders::with_credits(product, &credits, "500", "2"))
            .await
    }

    /// Subscribes every customer to every product from the start of `month`; how many subscriptions.
    ///
    /// # Errors
    /// When the collector refuses one of them.
    pub(crate) async fn subscribe_everyone(&self, api: &Api, month: &Month) -> Result<usize> {
        for customer in CUSTOMERS {
            for product in &self.products {
                let start = month.start.to_string();
                builders::subscribe(api, &builders::subscription(customer, product, &start))
                    .await?;
            }
        }
        Ok(CUSTOMERS.len() * self.products.len())
    }

    async fn meter(
        &mut self,
        api: &Api,
        name: &'static str,
        event_name: &str,
        aggregation: &str,
        key: &str,
        unit: &'static str,
    ) -> Result<String> {
        let definition = meter(name, event_name, aggregation, key, unit);
        let id = builders::create_meter(api, &definition).await?;
        self.meters.push(SoldMeter {
            name,
            id: id.clone(),
            unit,
        });
        Ok(id)
    }

    async fn sell(&mut self, api: &Api, product: &serde_json::Value) -> Result<()> {
        self.products
            .push(builders::create_product(api, product).await?);
        Ok(())
    }
}
