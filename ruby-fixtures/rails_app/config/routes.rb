require "sidekiq/web"

Rails.application.routes.draw do
  root "reports#index"
  resources :reports, only: [:index, :create]
  mount Sidekiq::Web => "/sidekiq"
end
