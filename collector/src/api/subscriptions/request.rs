//! What creates a subscription, as the official clients send it, with our `start_date`.

use serde::Deserialize;
use submeter_common::time::Timestamp;

use super::super::customers::NewCustomer;
use super::super::error::ApiError;
use super::super::field::{Ignored, Unsupported, check_metadata, check_name};
use super::country;
use crate::billing::CycleTerms;
use crate::customer::Customer;
use crate::metadata::Metadata;
use crate::money::Currency;
use crate::subscription::BillingAddress;
use crate::subscription::period::Alignment;
use crate::subscription::proration::Proration;
use crate::subscription::zone::Zone;
use crate::test_clock::TestClock;

/// What creates a subscription.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CreateRequest {
    billing: AddressRequest,
    pub(super) customer: CustomerRequest,
    pub(super) product_id: String,
    pub(super) quantity: u32,
    pub(super) start_date: Option<Timestamp>,
    metadata: Option<Metadata>,
    pub(super) billing_currency: Option<Currency>,
    #[serde(default, rename = "addons")]
    _addons: Unsupported,
    #[serde(default, rename = "discount_code")]
    _discount_code: Unsupported,
    #[serde(default, rename = "discount_codes")]
    _discount_codes: Unsupported,
    #[serde(default, rename = "on_demand")]
    _on_demand: Unsupported,
    #[serde(default, rename = "one_time_product_cart")]
    _one_time_product_cart: Unsupported,
    trial_period_days: Option<u32>,
    pub(super) test_clock: Option<String>,
    time_zone: Option<Zone>,
    billing_alignment: Option<Alignment>,
    proration: Option<Proration>,
    #[serde(default, rename = "allowed_payment_method_types")]
    _allowed_payment_method_types: Ignored,
    #[serde(default, rename = "customer_business_name")]
    _customer_business_name: Ignored,
    #[serde(default, rename = "force_3ds")]
    _force_3ds: Ignored,
    #[serde(default, rename = "mandate_min_amount_inr_paise")]
    _mandate_min_amount_inr_paise: Ignored,
    #[serde(default, rename = "payment_link")]
    _payment_link: Ignored,
    #[serde(default, rename = "payment_method_id")]
    _payment_method_id: Ignored,
    #[serde(default, rename = "redirect_immediately")]
    _redirect_immediately: Ignored,
    #[serde(default, rename = "require_phone_number")]
    _require_phone_number: Ignored,
    #[serde(default, rename = "return_url")]
    _return_url: Ignored,
    #[serde(default, rename = "short_link")]
    _short_link: Ignored,
    #[serde(default, rename = "show_saved_payment_methods")]
    _show_saved_payment_methods: Ignored,
    #[serde(default, rename = "tax_id")]
    _tax_id: Ignored,
}

/// Where the customer is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressRequest {
    country: String,
    city: Option<String>,
    state: Option<String>,
    street: Option<String>,
    zipcode: Option<String>,
}

/// Who subscribes: a known customer by id, or a new one by e-mail address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerRequest {
    customer_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
    phone_number: Option<String>,
}

/// Who subscribes, told apart.
pub(super) enum Subscriber {
    /// A customer that must exist.
    Known(String),
    /// A customer to be made with the subscription.
    New(Customer),
}

impl CustomerRequest {
    /// Tells whether a known or a new customer is meant.
    pub(super) fn subscriber(
        self,
        test_clock: Option<TestClock>,
        now: Timestamp,
    ) -> Result<Subscriber, ApiError> {
        match (self.customer_id, self.email) {
            (Some(_), Some(_)) => Err(ApiError::field(
                "customer.email",
                "expected either customer_id, or email for a new customer",
            )),
            (Some(customer_id), None) => Ok(Subscriber::Known(customer_id)),
            (None, Some(email)) => {
                let name = self.name.unwrap_or_else(|| email.clone());
                let phone_number = self.phone_number;
                let new = NewCustomer {
                    customer_id: None,
                    name,
                    email,
                    phone_number,
                    metadata: Metadata::new(),
                    test_clock,
                };
                new.build("customer.", now).map(Subscriber::New)
            }
            (None, None) => Err(ApiError::invalid(
                "MISSING_FIELD",
                "customer.customer_id",
                "this field is needed, or email for a new customer",
            )),
        }
    }
}

impl AddressRequest {
    /// Checks and takes the address.
    pub(super) fn take(&mut self) -> Result<BillingAddress, ApiError> {
        country::check("billing.country", &self.country)?;
        let parts = [
            ("billing.city", &self.city),
            ("billing.state", &self.state),
            ("billing.street", &self.street),
            ("billing.zipcode", &self.zipcode),
        ];
        for (field, part) in parts {
            // Forms send empty parts; they say nothing and are no mistake.
            if let Some(part) = part.as_deref().filter(|part| !part.is_empty()) {
                check_name(field, part)?;
            }
        }
        Ok(BillingAddress {
            country: std::mem::take(&mut self.country),
            city: self.city.take(),
            state: self.state.take(),
            street: self.street.take(),
            zipcode: self.zipcode.take(),
        })
    }
}

impl CreateRequest {
    /// Checks and takes the address.
    pub(super) fn address(&mut self) -> Result<BillingAddress, ApiError> {
        self.billing.take()
    }

    /// Takes how periods fall.
    pub(super) fn terms(&self) -> CycleTerms {
        CycleTerms {
            time_zone: self.time_zone.clone().unwrap_or_default(),
            alignment: self.billing_alignment.unwrap_or_default(),
            proration: self.proration.unwrap_or_default(),
            trial_days: self.trial_period_days.unwrap_or(0),
        }
    }

    /// Checks and takes the metadata.
    pub(super) fn metadata(&mut self) -> Result<Metadata, ApiError> {
        let metadata = self.metadata.take().unwrap_or_default();
        check_metadata(&metadata)?;
        Ok(metadata)
    }
}
